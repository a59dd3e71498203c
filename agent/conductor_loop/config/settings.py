# ruff: noqa: RUF009 - `setting` returns a dataclass field, made anew at each call
"""
Every key of the configuration: its type, default, form and help text, in the order of the reference page.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, cast

from conductor_loop.config import forms
from conductor_loop.config.forms import Form, choice, duration, integer, integers, size

LOG_LEVELS = ("debug", "info", "warning", "error")


def setting(
    default: object,
    form: Form,
    help_text: str,
    *,
    folder: str = "",
    secret: bool = False,
    restart: bool = False,
) -> Any:
    """
    Return a dataclass field for one key.

    Args:
        default: as it would be written in the file.
        form: how it is read.
        help_text: one or two sentences for the reference page.
        folder: the name below `handoff_dir` that is the default instead.
        secret: never show the value.
        restart: a running agent keeps the old value until it is started again.
    """
    metadata = {
        "form": form,
        "help": help_text,
        "default": default,
        "folder": folder,
        "secret": secret,
        "restart": restart,
    }
    return field(default=form.read(default, Path("/")), metadata=metadata)


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """
    The agent and its directories.
    """

    name: str = setting(
        "agent", forms.NAME, "Name of this agent, as rows, status files and logs show it.", restart=True
    )
    handoff_dir: Path = setting(
        "/var/lib/conductor-loop/handoff",
        forms.PATH,
        "The watched directory; producers drop files here.",
        restart=True,
    )
    state_dir: Path = setting(
        "/var/lib/conductor-loop/state",
        forms.PATH,
        "Database, locks and running marks. On a local file system only.",
        restart=True,
    )
    pattern: str = setting(
        "intent-*.json",
        forms.PATTERN,
        "Names that are taken, with * and ?. Hidden and half-written ones (`.x`, `x.tmp`, `x.part`) are not.",
    )
    max_workers: int = setting(4, integer(1, 256), "How many files are worked on at once.")
    look_ahead: int = setting(
        64, integer(1, 4096), "Files claimed and ready to run; the directory itself is the queue."
    )
    settle: float = setting(
        "500ms",
        duration(high="1h"),
        "A file written in place is taken once unchanged for this long; renamed-in files do not wait.",
    )
    reject_after: float = setting(
        "5s", duration(high="1h"), "Empty or unparsable files are rejected only after this long unchanged."
    )
    settle_max: float = setting(
        "10m",
        duration("1s", "7d"),
        "A file that is still being written after this long makes health degraded.",
    )
    shutdown_grace: float = setting(
        "30s", duration(high="1h"), "Time that running work may take to finish when the agent is stopped."
    )
    min_free: int = setting(
        "200MiB",
        size(),
        "Intake pauses while handoff_dir, state_dir or out_dir has less free space than this, or hardly any inodes.",
    )
    scan_interval: float = setting(
        "5s",
        duration("100ms", "1h"),
        "How often the handoff directory is read in full; events are only hints.",
    )
    watch: str = setting(
        "auto",
        choice("auto", "inotify", "poll"),
        "How new files are noticed. `auto` polls on network file systems and uses inotify elsewhere.",
        restart=True,
    )
    processed_dir: Path = setting(
        "/var/lib/conductor-loop/handoff/processed",
        forms.PATH,
        "Where processed files go. On the file system of handoff_dir.",
        folder="processed",
        restart=True,
    )
    failed_dir: Path = setting(
        "/var/lib/conductor-loop/handoff/failed",
        forms.PATH,
        "Where failed and rejected files go. On the file system of handoff_dir.",
        folder="failed",
        restart=True,
    )
    status_dir: Path = setting(
        "/var/lib/conductor-loop/handoff/status",
        forms.PATH,
        "Where status files go. On the file system of handoff_dir.",
        folder="status",
        restart=True,
    )
    work_dir: Path = setting(
        "/var/lib/conductor-loop/handoff/work",
        forms.PATH,
        "Where claimed files are while they are worked on. On the file system of handoff_dir.",
        folder="work",
        restart=True,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Processor:
    """
    What is done with a file.
    """

    kind: str = setting(
        "command",
        choice("command", "python", later=("stream",)),
        "`command` runs a program for each file, `python` calls a function inside the agent.",
    )
    command: tuple[str, ...] = setting(
        ["porch", "-intent", "{path}", "-out", "{out_dir}"],
        forms.ARGV,
        "The program and its arguments, never a shell string. `{path}`, `{name}`, `{out_dir}`, `{id}` and "
        "`{attempt}` are replaced. A program with a slash in it is a path, any other is looked for in PATH.",
    )
    mode: str = setting("direct", choice("direct", "structured"), "`structured` appends `-structured`.")
    handler: str = setting("", forms.HANDLER, 'For kind `python`: "module:function".')
    out_dir: Path = setting(
        "/var/lib/conductor-loop/out", forms.PATH, "Where the processor writes what it makes.", restart=True
    )
    timeout: float = setting("30s", duration("10ms", "7d"), "Time that one attempt may take.")
    kill_grace: float = setting(
        "5s", duration(high="1h"), "Time between the polite and the final end of a command that is too late."
    )
    output_limit: int = setting(
        "64KiB",
        size("1KiB", "64MiB"),
        "How much of stdout and stderr together is kept; of longer output the head and the tail.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Validation:
    """
    What makes a file acceptable.
    """

    schema: str = setting(
        "intent",
        forms.SCHEMA,
        "`intent` (built in), the path of a JSON Schema 2020-12 file, or `none` for no look inside the file.",
    )
    max_bytes: int = setting("5MiB", size("1B", "1GiB"), "Larger files are rejected.")
    max_depth: int = setting(100, integer(1, 200), "JSON nested deeper than this is rejected.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """
    When a failed attempt is repeated.
    """

    max_attempts: int = setting(10, integer(1, 10_000), "Attempts in all; 1 means no repetition.")
    give_up_after: float = setting("1h", duration(), "No further attempt once this long has passed.")
    initial_delay: float = setting(
        "1s", duration("1ms", "1d"), "Upper limit of the first delay; it doubles with each attempt."
    )
    max_delay: float = setting("5m", duration("1ms", "30d"), "Upper limit of every delay.")
    retry_exit_codes: tuple[int, ...] = setting(
        [75],
        integers(1, 255),
        "Exit codes of the command that mean `try again later`. Timeouts and signals always do.",
    )
    max_waiting: int = setting(
        1000, integer(1, 1_000_000), "Files waiting for their next attempt; beyond it intake pauses."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Http:
    """
    Metrics and health over HTTP.
    """

    metrics_host: str = setting("127.0.0.1", forms.HOST, "Address to listen on.", restart=True)
    metrics_port: int = setting(
        8080, integer(0, 65_535), "Port to listen on; 0 disables the server.", restart=True
    )
    web_config: str = setting(
        "",
        forms.FILE,
        "For TLS and users, in the format of Prometheus exporter-toolkit. Comes with a later version: leave it empty.",
        restart=True,
    )
    api: str = setting(
        "full",
        choice("full", "metrics-only"),
        "`metrics-only` is to show no history and no outputs of commands. No effect yet: neither is shown at all.",
        restart=True,
    )
    allowed_hosts: tuple[str, ...] = setting(
        [],
        forms.HOSTS,
        "Further names by which clients may call this server (the `Host` header).",
        restart=True,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Admin:
    """
    How `conductor-loop pause`, `files retry` and the other commands reach a running agent on the same machine.
    """

    socket: str = setting(
        "",
        forms.FILE,
        "The unix socket of the agent. Empty: `admin.sock` in state_dir; for `/etc/conductor-loop/NAME.toml` "
        "`/run/conductor-loop/NAME/admin.sock`.",
        restart=True,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """
    How long filed files are kept; "0" keeps them for ever. Deletion is slow and steady, so that it is never felt:
    about 20 files a second, more only where half a day would not suffice. Only what the agent has filed itself, and
    nobody has changed since, is deleted.
    """

    keep_processed: float = setting(
        "30d", duration(), "Age, since they ended, at which processed files are deleted."
    )
    keep_failed: float = setting(
        "400d", duration(), "Age at which failed and rejected files are deleted, with their error logs."
    )
    keep_status: float = setting("30d", duration(), "Age of its file at which a status file is deleted.")


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """
    What the database remembers and for how long; "0" for ever. Deletion and summaries come with a later version.
    """

    sample_interval: float = setting(
        "10s", duration("1s", "1h"), "How often memory, threads, descriptors and CPU are sampled."
    )
    outcomes: float = setting("30d", duration(), "Rows of files that were processed. No effect yet.")
    failures: float = setting(
        "400d", duration(), "Rows of files that failed or were rejected. No effect yet."
    )
    samples: float = setting("7d", duration(), "Resource samples. No effect yet.")
    hourly: float = setting("25mo", duration(), "Hourly summaries. No effect yet.")
    daily: float = setting("10y", duration(), "Daily summaries. No effect yet.")
    max_bytes: int = setting(
        "2GiB",
        size("1MiB"),
        "Size of the database. Over it go samples, then successes, failures, hourly summaries; daily never. "
        "No effect yet.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """
    Where history is kept.
    """

    url: str = setting(
        "", forms.URL, "Empty: SQLite in state_dir. Nothing else yet.", secret=True, restart=True
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """
    What is logged to stderr.
    """

    level: str = setting("info", choice(*LOG_LEVELS), "The least important lines that are shown.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """
    The merged configuration, made once by `load` and passed down in parts.
    """

    agent: Agent = field(default_factory=Agent)
    processor: Processor = field(default_factory=Processor)
    validation: Validation = field(default_factory=Validation)
    retry: Retry = field(default_factory=Retry)
    http: Http = field(default_factory=Http)
    admin: Admin = field(default_factory=Admin)
    files: Files = field(default_factory=Files)
    history: History = field(default_factory=History)
    store: Store = field(default_factory=Store)
    log: Log = field(default_factory=Log)


@dataclass(frozen=True, slots=True)
class Key:
    """
    One key, as loader and reference page see it.
    """

    section: str
    name: str
    form: Form
    help: str
    default: object  #: as written in a file
    folder: str
    secret: bool
    restart: bool

    @property
    def dotted(self) -> str:
        return f"{self.section}.{self.name}"

    @property
    def variable(self) -> str:
        return f"CONDUCTOR_LOOP_{self.section}_{self.name}".upper()

    def shown(self, written: object) -> object:
        """
        Return a value for everybody to see: of a secret only that there is one.
        """
        return "(secret)" if self.secret and written else written


#: Bytes of a path; the kernel's structure has 108, with a zero at the end.
LONGEST_SOCKET_PATH = 107


def admin_socket(config: Config) -> Path:
    """
    Return where the agent of this configuration listens for commands.
    """
    return Path(config.admin.socket) if config.admin.socket else config.agent.state_dir / "admin.sock"


#: Section name -> its class, in the order of the reference page.
SECTIONS: dict[str, type] = {
    section.name: cast("type", section.default_factory) for section in fields(Config)
}

#: Dotted name -> key.
KEYS: dict[str, Key] = {
    f"{section}.{entry.name}": Key(section, entry.name, **entry.metadata)
    for section, cls in SECTIONS.items()
    for entry in fields(cls)
}
