"""A SQLite store that was moved or copied with its project: MLflow keeps the places of files as absolute addresses.

The artifacts of a store lie in `mlartifacts` beside its database, where the first use put them.
"""

from __future__ import annotations

import logging
import sqlite3
from pathlib import Path

from mlflow.utils.file_utils import local_file_uri_to_path

ARTIFACTS = "mlartifacts"
_PLACES = {
    "experiments": ("artifact_location",),
    "runs": ("artifact_uri",),
    "logged_models": ("artifact_location",),
    "model_versions": ("source", "storage_location"),
}
log = logging.getLogger(__name__)


def former_place(connection: sqlite3.Connection, database: Path, experiment: str) -> str | None:
    """The address that the database still has for the artifacts beside it; None if it is right, or meant to be another.

    It is meant if nothing lies beside the database, and something there.
    """
    tables = connection.execute("SELECT name FROM sqlite_master WHERE name = 'experiments'").fetchone()
    query = "SELECT artifact_location FROM experiments WHERE name = ?"
    found = connection.execute(query, (experiment,)).fetchone() if tables else None
    here = database.parent / ARTIFACTS
    if found is None or not str(found[0]).startswith("file:") or found[0] == here.as_uri():
        return None
    there = Path(local_file_uri_to_path(found[0]))
    return str(found[0]) if there.name == ARTIFACTS and (here.is_dir() or not there.is_dir()) else None


def set_right(connection: sqlite3.Connection, database: Path, experiment: str) -> None:
    """Where the store was moved or copied, write down where its artifacts are now, and say so."""
    if (old := former_place(connection, database, experiment)) is None:
        return
    new = (database.parent / ARTIFACTS).as_uri()
    with connection:
        for table, columns in _PLACES.items():
            for column in columns:
                moved = f"UPDATE {table} SET {column} = ? || substr({column}, ?)"  # noqa: S608 - our own names
                at = f"WHERE {column} = ? OR substr({column}, 1, ?) = ?"
                connection.execute(f"{moved} {at}", (new, len(old) + 1, old, len(old) + 1, f"{old}/"))
    log.info("%s was moved or copied from %s: its runs' files are in %s now", database, old, new)
