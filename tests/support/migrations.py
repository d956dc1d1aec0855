"""Databases of earlier versions."""

from __future__ import annotations

from pathlib import Path

from app.store.database.migrate import MIGRATIONS, migrate


def migrate_until(file: Path, revision: str, folder: Path) -> None:
    """Make a database as it was before a revision.

    Args:
        file: the database's.
        revision: the first that it lacks, such as ``0013``.
        folder: an empty folder for the earlier migrations.
    """
    (folder / "versions").mkdir(parents=True)
    earlier = (each for each in (MIGRATIONS / "versions").glob("*.py") if each.name < revision)
    for each in (MIGRATIONS / "env.py", *earlier):
        (folder / each.relative_to(MIGRATIONS)).write_text(each.read_text())
    migrate(f"sqlite:///{file}", migrations=folder)
