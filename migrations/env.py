"""
Alembic's entry: runs the migrations over the connection that `conductor_loop.store.migrate` hands in.
"""

from __future__ import annotations

from alembic import context

from conductor_loop.store.tables import metadata

connection = context.config.attributes.get("connection")
if connection is None:
    raise SystemExit(
        "migrations run by `conductor-loop db upgrade`, which copies the database first; not by alembic"
    )

context.configure(
    connection=connection,
    target_metadata=metadata,  # its naming convention names what batch mode rebuilds
    render_as_batch=True,
)
context.run_migrations()  # in the caller's transaction: all of them or none
