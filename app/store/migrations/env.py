"""Runs the migrations: on the connection that `app.store.database.migrate` hands over, or, for the alembic
command line, on the database of the settings."""

from typing import Literal

from alembic import context
from alembic.autogenerate.api import AutogenContext
from sqlalchemy import Connection
from sqlalchemy.types import TypeDecorator

from app.settings import Settings
from app.store.database.columns import Base
from app.store.database.session import Database


def render_item(kind: str, item: object, _context: AutogenContext) -> str | Literal[False]:
    """Writes a column's plain type into a new migration, which must not change when the app's types do."""
    if kind == "type" and isinstance(item, TypeDecorator):
        return f"sa.{item.impl_instance!r}"
    return False


def run_migrations(connection: Connection) -> None:
    context.configure(
        connection=connection, target_metadata=Base.metadata, render_as_batch=True, render_item=render_item
    )
    with context.begin_transaction():
        context.run_migrations()


handed_over = context.config.attributes.get("connection")
if handed_over is not None:
    run_migrations(handed_over)
else:
    with Database(Settings.from_env().database_url, foreign_keys=False).migration() as own:
        run_migrations(own)
