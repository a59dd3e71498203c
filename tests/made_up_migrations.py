"""
Migrations that this program does not have: those of its past and its future.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from conductor_loop.store.upgrade import migrations_dir

_HEAD = """
from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = {revision!r}
down_revision = {down!r}
branch_labels = None
depends_on = None


def upgrade() -> None:
"""

NEXT = """
    op.add_column("files", sa.Column("colour", sa.Text(), nullable=False, server_default="grey"))
    op.add_column("attempts", sa.Column("cpu_us", sa.BigInteger()))
    op.add_column("totals", sa.Column("unit", sa.Text()))
    op.add_column("samples", sa.Column("load", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("meta", sa.Column("mood", sa.Text()))
    op.create_table("moods", sa.Column("number", sa.Integer(), primary_key=True))
    op.execute("UPDATE meta SET schema_version = 2, min_compatible_version = {min_compatible}")
"""


def future(folder: Path, *, min_compatible: int = 1, body: str = NEXT) -> Path:
    """
    Return a directory of migrations with one more than this program has.
    """
    scripts = Path(shutil.copytree(migrations_dir(), folder))
    text = _HEAD.format(revision="0002", down="0001") + body.format(min_compatible=min_compatible)
    (scripts / "versions" / "0002_next.py").write_text(text)
    return scripts


def past(folder: Path, body: str) -> Path:
    """
    Return a directory of migrations in which revision 0001 is reached from an older 0000 by `body`.
    """
    scripts = Path(shutil.copytree(migrations_dir(), folder))
    (scripts / "versions" / "0001_first_schema.py").unlink()
    old = _HEAD.format(revision="0000", down=None) + "    pass\n"
    (scripts / "versions" / "0000_old.py").write_text(old)
    text = _HEAD.format(revision="0001", down="0000") + body
    (scripts / "versions" / "0001_made_up.py").write_text(text)
    return scripts
