"""
Indexes for retries: what a file was tried again as, and what is left to try again. Runs that were cut off.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    retries = sa.text("retry_of IS NOT NULL")
    op.create_index(
        "ix_files_retry_of", "files", ["retry_of"], sqlite_where=retries, postgresql_where=retries
    )
    unsuccessful = sa.text("outcome IN ('failed', 'rejected')")
    op.create_index(
        "ix_files_unsuccessful", "files", ["number"], sqlite_where=unsuccessful, postgresql_where=unsuccessful
    )
    op.create_table(
        "interruptions",
        sa.Column("file_number", sa.BigInteger(), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("found_at", sa.BigInteger(), nullable=False),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("file_number", "started_at"),
    )
    set_version(schema_version=2, min_compatible_version=1)


def set_version(*, schema_version: int, min_compatible_version: int) -> None:
    meta = sa.table("meta", sa.column("schema_version"), sa.column("min_compatible_version"))
    op.execute(
        meta.update().values(schema_version=schema_version, min_compatible_version=min_compatible_version)
    )
