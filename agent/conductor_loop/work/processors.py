"""
Which processor a configuration asks for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from conductor_loop.work.command import CommandProcessor
from conductor_loop.work.handler import Handler, HandlerProcessor, load_handler
from conductor_loop.work.process import Abort
from conductor_loop.work.processor import Processor


def make_processor(
    *,
    kind: str,
    command: Sequence[str],
    structured: bool,
    handler: str | Handler,
    out_dir: str,
    timeout: float,
    kill_grace: float,
    output_limit: int,
    environ: Mapping[str, str],
    abort: Abort,
) -> Processor:
    """
    Return the processor of a kind: "command" or "python".

    Args:
        handler: the function itself, or "module:function", which is imported.

    Raises:
        ConfigError: if the handler cannot be imported.
    """
    if kind == "python":
        function = load_handler(handler) if isinstance(handler, str) else handler
        return HandlerProcessor(function, timeout=timeout, output_limit=output_limit)
    return CommandProcessor(
        command,
        structured=structured,
        out_dir=out_dir,
        timeout=timeout,
        kill_grace=kill_grace,
        output_limit=output_limit,
        environ=environ,
        abort=abort,
    )
