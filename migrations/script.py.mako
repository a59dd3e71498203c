"""
${message}

Rules for this file (delete them when it is done):
- Only add: a table, an index, or a column that is nullable or has a server default. Then the release before this one goes
  on working on the new schema, which is what lets an operator go back one version.
- What older programs cannot live with raises min_compatible_version below, and needs two releases: first one that no longer
  uses the thing, then one that removes it.
- Write down tables and columns here; do not import conductor_loop: its tables are those of the newest schema, not of this.
- End with set_version. Make the same change in conductor_loop/store/tables.py, with SCHEMA_VERSION, MIN_COMPATIBLE_VERSION
  and HEAD_REVISION; a test compares both ways of getting there.
- SQL for SQLite 3.34 and PostgreSQL. On SQLite other changes than ADD COLUMN need op.batch_alter_table, which copies the
  table: not on `files` without saying in the changelog how long it takes.
- There is no downgrade: the copy made before the upgrade is the way back.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
${imports if imports else ""}
revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = ${repr(branch_labels)}
depends_on = ${repr(depends_on)}


def upgrade() -> None:
    ${upgrades if upgrades else "pass"}
    set_version(schema_version=${int(up_revision) if up_revision.isdecimal() else 0}, min_compatible_version=1)


def set_version(*, schema_version: int, min_compatible_version: int) -> None:
    meta = sa.table("meta", sa.column("schema_version"), sa.column("min_compatible_version"))
    op.execute(meta.update().values(schema_version=schema_version, min_compatible_version=min_compatible_version))
