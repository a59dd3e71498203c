"""
Migrations that this program does not have: those of its past and its future.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from conductor_loop.store.tables import HEAD_REVISION
from conductor_loop.store.upgrade import migrations_dir

NEXT_REVISION = f"{int(HEAD_REVISION) + 1:04}"

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
    op.execute("UPDATE meta SET schema_version = {version}, min_compatible_version = {min_compatible}")
"""


def future(folder: Path, *, min_compatible: int = 1, body: str = NEXT) -> Path:
    """
    Return a directory of migrations with one more than this program has.
    """
    scripts = Path(shutil.copytree(migrations_dir(), folder))
    head = _HEAD.format(revision=NEXT_REVISION, down=HEAD_REVISION)
    text = head + body.format(version=int(NEXT_REVISION), min_compatible=min_compatible)
    (scripts / "versions" / f"{NEXT_REVISION}_next.py").write_text(text)
    return scripts


def past(folder: Path, body: str) -> Path:
    """
    Return a directory of migrations in which this program's revision is reached from an older 0000 by `body`.
    """
    scripts = until("", folder)
    old = _HEAD.format(revision="0000", down=None) + "    pass\n"
    (scripts / "versions" / "0000_old.py").write_text(old)
    text = _HEAD.format(revision=HEAD_REVISION, down="0000") + body
    (scripts / "versions" / f"{HEAD_REVISION}_made_up.py").write_text(text)
    return scripts


def until(revision: str, folder: Path) -> Path:
    """
    Return a directory of the migrations that led to `revision`, as an earlier release had it; "": of none.
    """
    scripts = Path(shutil.copytree(migrations_dir(), folder))
    for path in (scripts / "versions").glob("*.py"):
        if path.name[: len(HEAD_REVISION)] > revision:
            path.unlink()
    return scripts
