"""
The store: tables, connections and statements; the one door to SQLAlchemy and Alembic. It has no thread.
"""

from __future__ import annotations
