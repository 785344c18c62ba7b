"""The tracking store, its schema and the registry; nothing is created or changed."""

from __future__ import annotations

import os
import socket
import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import mlflow
import requests
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from mlflow import MlflowClient
from mlflow.entities import LifecycleStage
from mlflow.exceptions import MlflowException
from mlflow.utils.file_utils import local_file_uri_to_path
from sqlalchemy import Engine, create_engine, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from quantart.doctor import Finding, fails, ok, warning
from quantart.errors import UserError
from quantart.machine.disk import check_writable
from quantart.machine.root import real_root
from quantart.project import Project
from quantart.tracking.moved import ARTIFACTS, former_place
from quantart.tracking.spool import find_spools
from quantart.tracking.store import (
    EXPERIMENT,
    SQLITE,
    TAKES_FILES,
    around_proxy,
    clients_folder,
    database_of,
    impatient,
    is_sqlite,
    restore,
    tracking_uri,
    without_password,
)

PATIENCE = 3  # seconds for a server's answer
NOT_YET = "does not exist yet; the first run creates it"
REMEDY = "correct MLFLOW_TRACKING_URI, or unset it to use the project's own database"


def check_tracking(root: Path) -> Finding:
    """Whether the store in `MLFLOW_TRACKING_URI`, or else the project's own, can be used."""
    uri = tracking_uri(real_root(root))
    shown = without_password(uri)
    if uri.startswith("http"):
        return _server(uri)
    if is_sqlite(uri):
        return _file(database_of(uri))
    try:
        address = make_url(uri)
        address.get_dialect()
    except (ArgumentError, NoSuchModuleError) as error:
        return fails(f"{shown}: not the address of a store ({_line(error)})", REMEDY)
    try:
        socket.create_connection((address.host or "127.0.0.1", address.port or 5432), PATIENCE).close()
    except OSError as error:
        return fails(f"{shown}: the database does not answer ({error})", f"start it, or {REMEDY}")
    return ok(f"{shown} answers")


def check_delivered(root: Path) -> Finding:
    """Whether everything that runs logged has reached the store."""
    left = {spool.local_id: count for spool in find_spools(real_root(root)) if (count := len(spool.events()))}
    if not left:
        return ok("everything is in the store")
    found = f"{sum(left.values())} entries of {len(left)} runs are not in the store"
    return warning(found, "`quantart sync` once the tracking server is up")


def check_schema(root: Path) -> Finding:
    """Whether the database has the tables that the installed MLflow expects."""
    uri = tracking_uri(real_root(root))
    if uri.startswith("http"):
        return ok("managed by the tracking server")
    if is_sqlite(uri):
        database = database_of(uri)
        if not database.is_file() or not database.stat().st_size:
            return ok(f"{database}: {NOT_YET}")
        engine = create_engine(SQLITE, creator=lambda: _reading(database))
    elif check_tracking(root).remedy:
        return fails("cannot be read until this is fixed: tracking", REMEDY)
    else:
        engine = create_engine(uri)
    found = _revision(engine)
    wanted = ScriptDirectory(str(Path(mlflow.__file__).parent / "store" / "db_migrations")).get_current_head()
    if found == wanted:
        return ok(f"{wanted}, as MLflow {mlflow.__version__} expects")
    if found is None:
        return fails(f"{without_password(uri)}: not a database of MLflow", "set MLFLOW_TRACKING_URI to another one")
    upgrade = f"back it up, then run `mlflow db upgrade {without_password(uri)}`"
    return fails(f"{found}; MLflow {mlflow.__version__} expects {wanted}", upgrade)


def check_experiment(root: Path) -> Finding:
    """Whether the experiment was deleted, and whether its runs' files are where the store says."""
    uri = tracking_uri(real_root(root))
    if found := _unasked(root, uri, "no run yet"):
        return found
    try:
        with impatient(PATIENCE):
            experiment = MlflowClient(uri, uri).get_experiment_by_name(EXPERIMENT)
    except MlflowException as error:
        return fails(without_password(_line(error)), "see the row tracking")
    if experiment is None:
        return ok("no run yet")
    if experiment.lifecycle_stage == LifecycleStage.DELETED:
        return fails(f"{EXPERIMENT} was deleted", restore("experiment", experiment.experiment_id, uri))
    if folder := clients_folder(uri, experiment.artifact_location):
        return warning(f"the server has files of runs only if it shares {folder} with this machine", TAKES_FILES)
    return _files(database_of(uri)) if is_sqlite(uri) else ok(EXPERIMENT)


def check_registry(root: Path) -> Finding:
    """Which versions the registered model's aliases point to."""
    project, uri = Project(root), tracking_uri(real_root(root))
    name = project.params().export.name
    if found := _unasked(root, uri, "nothing is registered yet"):
        return found
    try:
        with impatient(PATIENCE):
            model = MlflowClient(uri, uri).get_registered_model(name)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return ok(f"no model {name!r} is registered yet")
        return fails(without_password(_line(error)), "see the row tracking")
    aliases = ", ".join(f"{alias} is version {to}" for alias, to in sorted(model.aliases.items()))
    return ok(f"{name}: {aliases or 'no alias'}")


def _server(uri: str) -> Finding:
    shown = without_password(uri)
    health = urlsplit(uri)._replace(path=f"{urlsplit(uri).path.rstrip('/')}/health", query="").geturl()
    try:
        answer = requests.get(health, timeout=PATIENCE)  # through the proxies that MLflow takes too
    except (requests.RequestException, ValueError) as error:
        return fails(
            f"{shown}: no answer ({without_password(_line(error))})", around_proxy(uri) or f"start it, {REMEDY}"
        )
    if answer.status_code != 200:
        remedy = around_proxy(uri) or "see its log; it may not be an MLflow server"
        return fails(f"{shown}: answers {answer.status_code}", remedy)
    return ok(f"{shown} answers")


def _file(database: Path) -> Finding:
    if not database.exists():
        check_writable(database.parent)
        return ok(f"{database}: {NOT_YET}")
    with database.open("rb") as file:
        is_database = file.read(16) in {b"", b"SQLite format 3\0"}
    if not is_database:
        return fails(f"{database}: is not a database", "move it away, or set MLFLOW_TRACKING_URI to another one")
    if not os.access(database, os.W_OK, effective_ids=os.access in os.supports_effective_ids):
        return fails(f"{database}: is read-only", f"`chmod u+w {database}` as its owner")
    return ok(f"{database}")


def _files(database: Path) -> Finding:
    """Whether the finished runs of a SQLite store have files: where it says, or after a move beside it."""
    finished = """SELECT run_uuid, artifact_uri FROM runs JOIN experiments USING (experiment_id)
        WHERE experiments.name = ? AND runs.status = 'FINISHED' AND runs.lifecycle_stage = 'active'
        AND artifact_uri LIKE 'file:%'"""
    with closing(_reading(database)) as connection:
        old = former_place(connection, database, EXPERIMENT)
        runs = dict(connection.execute(finished, (EXPERIMENT,)).fetchall())
    here = (database.parent / ARTIFACTS).as_uri()
    places = {run: uri.replace(old, here, 1) if old else uri for run, uri in runs.items()}
    lost = [run for run, uri in places.items() if not Path(local_file_uri_to_path(uri)).is_dir()]
    if lost:
        found = f"the files of {len(lost)} of {len(runs)} finished runs are gone: {places[lost[0]]}"
        return warning(found, "bring them back, or delete these runs in MLflow; `models/` is enough for this project")
    if old:
        return warning(f"the store was moved or copied from {old}", "nothing: the next command sets it right")
    return ok(f"{EXPERIMENT}: {len(runs)} finished runs, whose files are there")


def _unasked(root: Path, uri: str, nothing: str) -> Finding | None:
    """The finding where MLflow must not be asked: it would repair, create or wait for what is wrong. Else None."""
    if is_sqlite(uri) and not database_of(uri).is_file():
        return ok(nothing)
    for row, check in {"tracking": check_tracking, "database schema": check_schema}.items():
        if remedy := check(root).remedy:
            return fails(f"cannot be read until this is fixed: {row}", remedy)
    return None


def _reading(database: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True)


def _revision(engine: Engine) -> str | None:
    try:
        with engine.connect() as connection:
            return MigrationContext.configure(connection).get_current_revision()
    except SQLAlchemyError as error:
        raise UserError(f"the database cannot be read: {without_password(_line(error))}") from None
    finally:
        engine.dispose()


def _line(error: Exception) -> str:
    return str(error).splitlines()[0]
