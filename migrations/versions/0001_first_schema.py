"""
The first schema.

A new database gets it from `conductor_loop.store.tables` at once; here the chain of migrations begins.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "meta",
        sa.Column("id", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("store_id", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("schema_version", sa.Integer(), nullable=False),
        sa.Column("min_compatible_version", sa.Integer(), nullable=False),
        sa.CheckConstraint("id = 1", name="one_row"),
    )
    _create_files()
    op.create_table(
        "attempts",
        sa.Column("file_number", sa.BigInteger(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("duration_us", sa.BigInteger(), nullable=False),
        sa.Column("exit_code", sa.Integer()),
        sa.Column("signal", sa.Integer()),
        sa.Column("kind", sa.Text()),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("output", sa.LargeBinary(), nullable=False),
        sa.Column("output_bytes", sa.BigInteger(), nullable=False),
        sa.Column("survivors", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("file_number", "attempt"),
    )
    op.create_table(
        "totals",
        sa.Column("metric", sa.Text(), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("metric", "label"),
    )
    op.create_table(
        "samples",
        sa.Column("taken_at", _KEY, primary_key=True, autoincrement=False),
        sa.Column("memory_bytes", sa.BigInteger(), nullable=False),
        sa.Column("threads", sa.Integer(), nullable=False),
        sa.Column("fds", sa.Integer(), nullable=False),
        sa.Column("cpu_permille", sa.Integer(), nullable=False),
        sa.Column("directory_bytes", sa.BigInteger(), nullable=False),
        sa.Column("disk_free", sa.Text(), nullable=False),
    )
    op.create_table(
        "pauses",
        sa.Column("reason", sa.Text(), primary_key=True),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
    )


def _create_files() -> None:
    op.create_table(
        "files",
        sa.Column("number", _KEY, primary_key=True, autoincrement=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("raw_name", sa.LargeBinary()),
        sa.Column("agent", sa.Text(), nullable=False),
        sa.Column("slot", sa.Integer(), nullable=False),
        sa.Column("dev", sa.BigInteger(), nullable=False),
        sa.Column("ino", sa.BigInteger(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("mtime_ns", sa.BigInteger(), nullable=False),
        sa.Column("ctime_ns", sa.BigInteger(), nullable=False),
        sa.Column("found_by", sa.Text(), nullable=False),
        sa.Column("discovered_at", sa.BigInteger(), nullable=False),
        sa.Column("claimed_at", sa.BigInteger(), nullable=False),
        sa.Column("retry_of", sa.BigInteger()),
        sa.Column("attempts", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("interruptions", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("next_attempt_at", sa.BigInteger()),
        sa.Column("outcome", sa.Text()),
        sa.Column("kind", sa.Text()),
        sa.Column("message", sa.Text()),
        sa.Column("finished_at", sa.BigInteger()),
        sa.Column("exit_code", sa.Integer()),
        sa.Column("duration_us", sa.BigInteger()),
        sa.Column("wait_us", sa.BigInteger()),
        sa.Column("sha256", sa.Text()),
        sa.Column("target", sa.Text()),
        sa.Column("raw_target", sa.LargeBinary()),
        sa.Column("status_name", sa.Text()),
        sa.Column("raw_status_name", sa.LargeBinary()),
        sa.Column("filed_at", sa.BigInteger()),
    )
    op.create_index("ix_files_finished_at", "files", ["finished_at"])
    still_open = sa.text("filed_at IS NULL")
    op.create_index(
        "ix_files_open", "files", ["number"], sqlite_where=still_open, postgresql_where=still_open
    )
