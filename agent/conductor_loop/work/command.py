"""
The command processor: a program called once per file.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import signal
from collections.abc import Mapping, Sequence

from conductor_loop.model import Blocked, Interrupted, Kind, PauseReason, Run, Succeeded
from conductor_loop.work import process
from conductor_loop.work.processor import Failure, File, Result, Spawned

_PLACEHOLDER = re.compile(r"\{(path|name|out_dir|id|attempt)\}")
_LINE_LENGTH = 200  #: characters of a command's last words that the message repeats
_LOST = "its exit code was lost; the agent is to be started with SIGCHLD not ignored"
_WHAT_TO_DO = {
    errno.ENOENT: "no such program; install it, or give its full path",
    errno.EACCES: "may not be executed; it is to be an executable file on a file system mounted with exec",
    errno.ENOEXEC: "is neither a program for this machine nor a script that begins with #!",
    errno.EAGAIN: "no more processes can be started now; raise the limit (TasksMax, ulimit -u)",
    errno.ENOMEM: "there is no memory to start it now",
    errno.ESRCH: _LOST,  # it ended and was gone before it could be waited for
    errno.EMFILE: "no more files can be opened now; raise the limit (LimitNOFILE, ulimit -n)",
}


class CommandProcessor:
    """
    Runs `command` for each file.

    `{path}`, `{name}`, `{out_dir}`, `{id}` and `{attempt}` in its arguments are replaced; other braces stay.

    Args:
        command: program and arguments, never a shell's line.
        structured: append `-structured`, as porch knows it.
        out_dir: value of `{out_dir}`.
        timeout: seconds after which it is ended with all that it started.
        kill_grace: seconds between asking for that end and killing.
        output_limit: bytes of output that are kept, of stdout and stderr together.
        environ: what the command's environment is made of; secrets of the agent are not to be in it.
        abort: says that the agent stops.
    """

    cooperative = False

    def __init__(
        self,
        command: Sequence[str],
        *,
        structured: bool = False,
        out_dir: str,
        timeout: float,
        kill_grace: float,
        output_limit: int,
        environ: Mapping[str, str],
        abort: process.Abort,
    ) -> None:
        self.timeout = timeout
        self._command = (*command, "-structured") if structured else tuple(command)
        self._program = command[0]
        self._label = os.path.basename(command[0])
        self._out_dir = out_dir
        self._kill_grace = kill_grace
        self._output_limit = output_limit
        # Encoded once: subprocess takes it as it is, and encoding fifty variables costs more than reading a file.
        self._environ = {os.fsencode(name): os.fsencode(value) for name, value in environ.items()}
        self._path = environ.get("PATH", os.defpath)
        self._abort = abort

    def run(self, file: File, spawned: Spawned) -> Result:
        """
        Run the command on `file`.
        """
        # Looked up here, for subprocess meddles with the list of warning filters, which is not safe in threads.
        executable = shutil.which(self._program, path=self._path)
        if executable is None:
            return Result(Blocked(PauseReason.COMMAND, self._not_found()))
        try:
            finish = process.run(
                self.argv(file),
                executable=executable,
                environ=self._environ | variables(file),
                file_id=file.id,
                timeout=self.timeout,
                kill_grace=self._kill_grace,
                output_limit=self._output_limit,
                abort=self._abort,
                spawned=spawned,
            )
        except process.StartError as error:
            return Result(self._not_started(error))
        return Result(self._ending(finish), finish.run)

    def problem(self) -> str | None:
        """
        Return why the command cannot be run, or None: so a pause for a missing command finds out that it is mended.
        """
        return None if shutil.which(self._program, path=self._path) else self._not_found()

    def argv(self, file: File) -> list[str]:
        """
        Return the program and its arguments for `file`.
        """
        values = {
            "path": str(file.path),
            "name": file.name,
            "out_dir": self._out_dir,
            "id": file.id,
            "attempt": str(file.attempt),
        }
        # In one pass: a file called "{id}" keeps its name.
        return [_PLACEHOLDER.sub(lambda found: values[found[1]], part) for part in self._command]

    def _not_found(self) -> str:
        code = errno.EACCES if os.path.exists(self._program) else errno.ENOENT
        return f"{self._program}: {_WHAT_TO_DO[code]}"

    def _not_started(self, error: process.StartError) -> Failure | Blocked:
        """
        Tell what an error at the start means: nearly always that the next file would fare no better.

        Having no process or memory left counts among those; it passes, and no file is to blame.
        """
        if error.errno is None or error.errno == errno.E2BIG:
            return Failure(
                Kind.COMMAND_FAILED, f"{self._label} cannot be called with these arguments: {error}"
            )
        if error.errno == errno.ENOENT:  # the program itself was there a moment ago
            hint = "the interpreter that its first line names does not exist"
        else:
            hint = _WHAT_TO_DO.get(error.errno, str(error))
        return Blocked(PauseReason.COMMAND, f"{self._program}: {hint}")

    def _ending(self, finish: process.Finish) -> Succeeded | Failure | Blocked | Interrupted:
        run = finish.run
        match finish.how:
            case process.How.ABORTED:
                return Interrupted()
            case process.How.TIMEOUT:
                return Failure(
                    Kind.TIMEOUT, f"{self._label} did not end within {self.timeout:g}s" + _left(run)
                )
            case process.How.EXITED:
                return self._own_ending(run)

    def _own_ending(self, run: Run) -> Succeeded | Failure | Blocked | Interrupted:
        if run.signal is not None and self._abort.is_set:
            return Interrupted()  # whoever ends the agent may end its commands as well, and be faster
        if run.signal is not None:
            return Failure(Kind.SIGNAL, f"{self._label} was killed by {_signal_name(run.signal)}")
        if run.exit_code is None:
            return Blocked(PauseReason.COMMAND, f"{self._program}: {_LOST}")
        if run.exit_code:
            return Failure(
                Kind.COMMAND_FAILED, f"{self._label} exited with code {run.exit_code}{_last_words(run)}"
            )
        return Succeeded()


def variables(file: File) -> dict[bytes, bytes]:
    """
    Return what a command's environment says of `file`.
    """
    return {
        process.ID_VARIABLE.encode(): file.id.encode(),
        b"CONDUCTOR_ATTEMPT": b"%d" % file.attempt,
        b"CONDUCTOR_SHA256": file.sha256.encode(),
        b"CONDUCTOR_NAME": os.fsencode(file.name),
    }


def _left(run: Run) -> str:
    return f"; {run.survivors} of its processes could not be killed" if run.survivors else " and was ended"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"


def _last_words(run: Run) -> str:
    lines = run.output.decode("utf-8", "replace").split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    words = "".join(c if c.isprintable() else " " for c in last[:_LINE_LENGTH])
    return f": {words}" if words else ""
