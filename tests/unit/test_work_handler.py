from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from conductor_loop.errors import ConfigError
from conductor_loop.model import Kind, Succeeded
from conductor_loop.runtime.deadline import Deadline
from conductor_loop.work.handler import HandlerProcessor, Retry, load_handler
from conductor_loop.work.processor import Failure, File, Result

FILE = File(
    path=Path("/nowhere/intent-a.json"),
    name="intent-a.json",
    id="s-1",
    attempt=2,
    sha256="ab",
    data={"replicas": 1},
    deadline=Deadline.after(1000.0),
)


def call(handler: Callable[[File], Any], *, output_limit: int = 10_000) -> Result:
    processor = HandlerProcessor(handler, timeout=5.0, output_limit=output_limit)
    return processor.run(FILE, lambda pid, start_time: pytest.fail("a handler is no process"))


def raising(error: BaseException) -> Callable[[File], None]:
    def handler(file: File) -> None:
        raise error

    return handler


def test_a_handler_gets_the_file_and_its_text_is_the_message() -> None:
    """
    Name, id, attempt, data and deadline are there.
    """
    result = call(
        lambda file: f"{file.name} {file.id} {file.attempt} {file.data} {file.deadline.remaining() > 4}"
    )

    assert result.ending == Succeeded("intent-a.json s-1 2 {'replicas': 1} True")
    assert result.run is not None
    assert result.run.exit_code is None
    assert 0 <= result.run.duration < 1


@pytest.mark.parametrize("returned", [None, 0, False, 5, {"a": 1}])
def test_whatever_a_handler_returns_is_success(returned: Any) -> None:
    """
    Only raising is failing.
    """
    assert call(lambda file: returned).ending == Succeeded("")


class HostileError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


@pytest.mark.parametrize(
    "error",
    [
        ValueError("no good"),
        SystemExit(0),
        KeyboardInterrupt(),
        GeneratorExit(),
        MemoryError(),
        RecursionError("deep"),
        HostileError(),
        ValueError("\ud800"),
        StopIteration(),
    ],
)
def test_whatever_a_handler_raises_is_the_failure_of_one_file(error: BaseException) -> None:
    """
    Leaving the program is no way to succeed, or to stop the agent.
    """
    result = call(raising(error))

    assert isinstance(result.ending, Failure)
    assert result.ending.kind is Kind.HANDLER_ERROR
    assert not result.ending.asked
    assert type(error).__name__ in result.ending.message
    assert result.run is not None
    assert b"Traceback" in result.run.output


def test_of_a_long_traceback_head_and_tail_are_kept() -> None:
    """
    The limit for output holds for handlers too.
    """
    result = call(raising(ValueError("x" * 5000 + "end")), output_limit=200)

    assert result.run is not None
    assert len(result.run.output) < 250
    assert result.run.output.endswith(b"end\n")
    assert result.run.output_bytes > 5000


@pytest.mark.parametrize("delay", [None, 0.0, 12.5])
def test_retry_asks_for_another_attempt(delay: float | None) -> None:
    """
    With its message and, if it likes, its delay; no traceback, for nothing is wrong with the handler.
    """
    result = call(raising(Retry("not yet", delay=delay)))

    assert result.ending == Failure(Kind.HANDLER_ERROR, "not yet", asked=True, asked_delay=delay)
    assert result.run is not None
    assert result.run.output == b""


def test_retry_needs_no_message() -> None:
    """
    The history still has words.
    """
    assert call(raising(Retry())).ending == Failure(
        Kind.HANDLER_ERROR, "the handler asked for another attempt", asked=True
    )


@pytest.mark.parametrize("delay", [-1, float("nan")])
def test_retry_refuses_a_delay_that_is_none(delay: float) -> None:
    """
    In the handler, where the mistake is.
    """
    with pytest.raises(ValueError, match="seconds, 0 or more"):
        Retry(delay=delay)


def test_a_retry_class_of_ones_own_is_a_retry() -> None:
    """
    Even if it forgets its parent's constructor.
    """

    class NotYet(Retry):
        def __init__(self) -> None:
            pass

    assert isinstance(ending := call(raising(NotYet())).ending, Failure)
    assert ending.asked


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "handlers_for_test.py").write_text(
        "def good(file): return 'fine'\nasync def later(file): pass\nnumber = 5\n", encoding="utf-8"
    )
    (tmp_path / "broken_for_test.py").write_text("import surely_not_there\n", encoding="utf-8")
    (tmp_path / "leaving_for_test.py").write_text("raise SystemExit(0)\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    return "handlers_for_test"


def test_a_handler_is_found_by_module_and_name(module: str) -> None:
    """
    Imported at the start, called later.
    """
    assert load_handler(f"{module}:good")(FILE) == "fine"


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("", 'expected "module:function"'),
        ("handlers_for_test", 'expected "module:function"'),
        ("handlers_for_test:", 'expected "module:function"'),
        (":good", 'expected "module:function"'),
        ("handlers_for_test:good()", 'expected "module:function"'),
        ("surely_not_there:good", "No module named 'surely_not_there'"),
        ("broken_for_test:good", "No module named 'surely_not_there'"),
        ("leaving_for_test:good", "SystemExit"),
        ("..relative:good", "importing ..relative failed"),
        ("handlers_for_test:goood", "has no goood"),
        ("handlers_for_test:number", "cannot be called"),
        ("handlers_for_test:later", "coroutine"),
    ],
)
def test_a_handler_that_is_not_there_is_a_configuration_error(
    module: str, reference: str, words: str
) -> None:
    """
    It names the key, the value and what is missing.
    """
    with pytest.raises(ConfigError) as caught:
        load_handler(reference)
    assert str(caught.value).startswith(f"processor.handler: {reference!r}: ")
    assert words in str(caught.value)
