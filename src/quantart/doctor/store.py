"""The tracking store, its schema and the registry: looked at without making or changing anything."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from urllib.parse import urlsplit

import mlflow
import urllib3
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from sqlalchemy import create_engine, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from quantart.doctor.row import Row, fails, ok, warning
from quantart.errors import UserError
from quantart.machine.writable import check_writable
from quantart.project import Project
from quantart.tracking.spool import find_spools
from quantart.tracking.store import SQLITE, impatient, real_root, tracking_uri, without_password

PATIENCE = 3  # seconds for a server's answer
NOT_YET = "not there yet; the first run makes it"


def check_tracking(root: Path) -> Row:
    """Whether the store that `MLFLOW_TRACKING_URI` names, or the project's own, can be used."""
    uri = tracking_uri(real_root(root))
    shown = without_password(uri)
    remedy = "mend MLFLOW_TRACKING_URI, or unset it for the project's own database"
    if uri.startswith("http"):
        return _server(uri)
    if uri.startswith(SQLITE):
        return _file(_database(uri))
    try:
        address = make_url(uri)
        address.get_dialect()
    except (ArgumentError, NoSuchModuleError) as error:
        return fails("tracking", f"{shown}: no address of a store ({_line(error)})", remedy)
    try:
        socket.create_connection((address.host or "127.0.0.1", address.port or 5432), PATIENCE).close()
    except OSError as error:
        return fails("tracking", f"{shown}: the database does not answer ({error})", f"start it, or {remedy}")
    return ok("tracking", f"{shown} answers")


def check_delivered(root: Path) -> Row:
    """Whether all that runs logged is in the store."""
    left = {spool.local_id: count for spool in find_spools(real_root(root)) if (count := spool.left())}
    if not left:
        return ok("logged runs", "all they logged is in the store")
    found = f"{sum(left.values())} entries of {len(left)} runs are not in the store"
    return warning("logged runs", found, "`quantart sync`, once the tracking server is there")


def check_schema(root: Path) -> Row:
    """Whether the database has the tables that the installed MLflow expects."""
    name, uri = "database schema", tracking_uri(real_root(root))
    if uri.startswith("http"):
        return ok(name, "the tracking server's own matter")
    if uri.startswith(SQLITE):
        database = _database(uri)
        if not database.is_file() or not database.stat().st_size:
            return ok(name, f"{database}: {NOT_YET}")
        address = f"{SQLITE}file:{database}?mode=ro&uri=true"
    else:
        address = uri
    found, wanted = _revision(address), _newest_revision()
    if found == wanted:
        return ok(name, f"{wanted}, that of MLflow {mlflow.__version__}")
    if found is None:
        return fails(name, f"{without_password(uri)}: not MLflow's", "name another in MLFLOW_TRACKING_URI")
    upgrade = f"back it up, then run `mlflow db upgrade {without_password(uri)}`"
    return fails(name, f"{found}; MLflow {mlflow.__version__} expects {wanted}", upgrade)


def check_registry(root: Path) -> Row:
    """Which versions the aliases of the project's registered model point to."""
    project, uri = Project(root), tracking_uri(real_root(root))
    name = project.params().export.name
    if uri.startswith(SQLITE) and not _database(uri).is_file():
        return ok("registry", "nothing is registered yet")
    for check in (check_tracking, check_schema):  # MLflow would mend, make or wait for what is amiss
        row = check(root)
        if row.remedy:
            return fails("registry", f"can't be asked before this is mended: {row.name}", row.remedy)
    try:
        with impatient(PATIENCE):
            model = MlflowClient(uri, uri).get_registered_model(name)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return ok("registry", f"no model {name!r} is registered yet")
        return fails("registry", without_password(_line(error)), "see the row of the tracking store")
    aliases = ", ".join(f"{alias} is version {to}" for alias, to in sorted(model.aliases.items()))
    return ok("registry", f"{name}: {aliases or 'no alias'}")


def _server(uri: str) -> Row:
    shown = without_password(uri)
    health = urlsplit(uri)._replace(path=f"{urlsplit(uri).path.rstrip('/')}/health", query="").geturl()
    try:
        answer = urllib3.request("GET", health, retries=False, timeout=PATIENCE)
    except (urllib3.exceptions.HTTPError, ValueError) as error:
        reason = without_password(_line(error))
        remedy = "start it, mend MLFLOW_TRACKING_URI, or unset it for the project's own database"
        return fails("tracking", f"{shown}: no answer ({reason})", remedy)
    if answer.status != 200:
        return fails("tracking", f"{shown}: answers {answer.status}", "is it an MLflow server? see its log")
    return ok("tracking", f"{shown} answers")


def _file(database: Path) -> Row:
    if not database.exists():
        try:
            check_writable(database.parent)
        except UserError as error:
            return fails("tracking", f"{database}: can't be made: {error}", f"make {database.parent} writable")
        return ok("tracking", f"{database}: {NOT_YET}")
    with database.open("rb") as file:
        begins = file.read(16)
    if begins not in {b"", b"SQLite format 3\0"}:
        return fails("tracking", f"{database}: is no database", "move it away, or name another in MLFLOW_TRACKING_URI")
    if not os.access(database, os.W_OK, effective_ids=os.access in os.supports_effective_ids):
        return fails("tracking", f"{database}: is read-only", f"`chmod u+w {database}`, as its owner")
    return ok("tracking", f"{database}")


def _database(uri: str) -> Path:
    return Path(uri.removeprefix(SQLITE).partition("?")[0])


def _revision(address: str) -> str | None:
    engine = create_engine(address)
    try:
        with engine.connect() as connection:
            return MigrationContext.configure(connection).get_current_revision()
    except SQLAlchemyError as error:
        raise UserError(f"the database can't be read: {without_password(_line(error))}") from None
    finally:
        engine.dispose()


def _newest_revision() -> str | None:
    folder = Path(mlflow.__file__).parent / "store" / "db_migrations"
    return ScriptDirectory(str(folder)).get_current_head()


def _line(error: Exception) -> str:
    return str(error).splitlines()[0]
