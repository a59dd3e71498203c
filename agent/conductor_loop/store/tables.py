"""
The tables of the current schema.

Moments and durations are whole microseconds. A change here needs a migration that does the same (migrations/) and
a higher `SCHEMA_VERSION`; a test compares the two.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    literal_column,
)

SCHEMA_VERSION = 2  #: raised by every migration
MIN_COMPATIBLE_VERSION = 1  #: the oldest SCHEMA_VERSION whose programs may read and write this schema
HEAD_REVISION = "0002"  #: of migrations/; here so that the agent need not import Alembic to know it

#: Only an INTEGER key is SQLite's own row number; a BIGINT one would cost a second index.
_Key = BigInteger().with_variant(Integer, "sqlite")

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "pk": "pk_%(table_name)s",
    }
)

meta = Table(
    "meta",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("store_id", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("schema_version", Integer, nullable=False),
    Column("min_compatible_version", Integer, nullable=False),
    CheckConstraint("id = 1", name="one_row"),
)

files = Table(
    "files",
    metadata,
    Column("number", _Key, primary_key=True, autoincrement=False),
    Column("name", Text, nullable=False),
    Column("raw_name", LargeBinary),
    Column("agent", Text, nullable=False),
    Column("slot", Integer, nullable=False),
    Column("dev", BigInteger, nullable=False),
    Column("ino", BigInteger, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("mtime_ns", BigInteger, nullable=False),
    Column("ctime_ns", BigInteger, nullable=False),
    Column("found_by", Text, nullable=False),
    Column("discovered_at", BigInteger, nullable=False),
    Column("claimed_at", BigInteger, nullable=False),
    Column("retry_of", BigInteger),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("interruptions", Integer, nullable=False, server_default="0"),
    Column("next_attempt_at", BigInteger),
    Column("outcome", Text),
    Column("kind", Text),
    Column("message", Text),
    Column("finished_at", BigInteger),
    Column("exit_code", Integer),
    Column("duration_us", BigInteger),
    Column("wait_us", BigInteger),
    Column("sha256", Text),
    Column("target", Text),
    Column("raw_target", LargeBinary),
    Column("status_name", Text),
    Column("raw_status_name", LargeBinary),
    Column("filed_at", BigInteger),
)
Index("ix_files_finished_at", files.c.finished_at)
#: What recovery asks for; as small as the work in hand, however long the history is.
Index(
    "ix_files_open",
    files.c.number,
    sqlite_where=files.c.filed_at.is_(None),
    postgresql_where=files.c.filed_at.is_(None),
)
Index(
    "ix_files_retry_of",
    files.c.retry_of,
    sqlite_where=files.c.retry_of.is_not(None),
    postgresql_where=files.c.retry_of.is_not(None),
)
#: For the newest of what went wrong among millions of files that did not. SQLite takes it only for a query that names
#: these outcomes as literals, in the same words.
UNSUCCESSFUL = files.c.outcome.in_([literal_column("'failed'"), literal_column("'rejected'")])
Index("ix_files_unsuccessful", files.c.number, sqlite_where=UNSUCCESSFUL, postgresql_where=UNSUCCESSFUL)

attempts = Table(
    "attempts",
    metadata,
    Column("file_number", BigInteger, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("started_at", BigInteger, nullable=False),
    Column("duration_us", BigInteger, nullable=False),
    Column("exit_code", Integer),
    Column("signal", Integer),
    Column("kind", Text),
    Column("message", Text, nullable=False),
    Column("output", LargeBinary, nullable=False),
    Column("output_bytes", BigInteger, nullable=False),
    Column("survivors", Integer, nullable=False),
    PrimaryKeyConstraint("file_number", "attempt"),
)

#: Runs that did not come to their end, and so are no attempts.
interruptions = Table(
    "interruptions",
    metadata,
    Column("file_number", BigInteger, nullable=False),
    Column("started_at", BigInteger, nullable=False),
    Column("found_at", BigInteger, nullable=False),
    Column("cause", Text, nullable=False),
    PrimaryKeyConstraint("file_number", "started_at"),
)

totals = Table(
    "totals",
    metadata,
    Column("metric", Text, nullable=False),
    Column("label", Text, nullable=False),
    Column("value", BigInteger, nullable=False),
    PrimaryKeyConstraint("metric", "label"),
)

samples = Table(
    "samples",
    metadata,
    Column("taken_at", _Key, primary_key=True, autoincrement=False),
    Column("memory_bytes", BigInteger, nullable=False),
    Column("threads", Integer, nullable=False),
    Column("fds", Integer, nullable=False),
    Column("cpu_permille", Integer, nullable=False),
    Column("directory_bytes", BigInteger, nullable=False),
    Column("disk_free", Text, nullable=False),  # JSON: path -> bytes
)

pauses = Table(
    "pauses",
    metadata,
    Column("reason", Text, primary_key=True),
    Column("since", BigInteger, nullable=False),
    Column("message", Text, nullable=False),
)

#: Alembic's own table, exactly as Alembic makes it; apart from `metadata`, which is what Alembic compares.
alembic_version = Table(
    "alembic_version",
    MetaData(),
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)
