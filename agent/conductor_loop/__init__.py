"""
conductor-loop: a directory as a reliable work queue.

For use inside another program: `Watcher` and `Config`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conductor_loop.app.embedded import Config
    from conductor_loop.app.watcher import FileResult, Watcher
    from conductor_loop.metrics.flat import Metrics
    from conductor_loop.work.handler import Retry
    from conductor_loop.work.processor import File

__version__ = "0.1.0"

__all__ = ["Config", "File", "FileResult", "Metrics", "Retry", "Watcher", "__version__"]

_PLACES = {
    "Config": "app.embedded",
    "File": "work.processor",
    "FileResult": "app.watcher",
    "Metrics": "metrics.flat",
    "Retry": "work.handler",
    "Watcher": "app.watcher",
}


def __getattr__(name: str) -> object:
    # At first use: importing all this takes the command line ten times as long as printing its help.
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_PLACES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
