"""Where MLflow keeps runs, pictures and models: one place per project, whatever the current folder is."""

from __future__ import annotations

import logging
import os
import re
import shlex
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

import mlflow
from filelock import FileLock
from mlflow.entities import LifecycleStage
from mlflow.exceptions import MlflowException
from mlflow.utils.file_utils import local_file_uri_to_path
from requests.utils import get_environ_proxies, select_proxy

from quantart.errors import UserError, one_line
from quantart.machine.disk import check_writable
from quantart.machine.root import real_root
from quantart.tracking.moved import ARTIFACTS, set_right

EXPERIMENT = "quantart"
REQUEST = 60  # seconds that work which needs the store waits for each answer
SQLITE = "sqlite:///"
ODD = "sqlite+pysqlite:///"  # means the same; of the other form MLflow makes the folder, without decoding it
# MLflow raises one class of exception for a server that refuses a request and for one that can't be reached
NO_ANSWER = ("failed with exception", "failed with timeout exception")
UNSET = "unset MLFLOW_TRACKING_URI to use the project's own database"
TAKES_FILES = f"start it with `--artifacts-destination`, and `mlflow experiments rename` the {EXPERIMENT} that it has"
WRONG_ADDRESS = ("Failed to resolve", "NameResolution", "Failed to parse", "SSLError", "URL has an invalid label")
ABOUT = {
    "mlflow.note.content": """One run per training stage: `stage1_base`, `stage1_content` and `stage1_style` (VQGANs), \
`stage2_discrete` and `stage2_continuous` (style transfer). Compare runs of the same stage.

- `train/…`, `val/…`: curves over steps; `eval/…`: held-out pictures, `eval_interval/…` ends of the 95 % intervals, \
`eval_baselines/…` the baselines on the same pictures
- tags: `git.commit`, `dvc.stage`, `dvc.experiment`, `data.<name>` (sha256), `upstream.<stage>` (run id)
- parameters begin with their stage: `stage2.train.steps`""",
}


class Unreachable(UserError):
    """The tracking store does not answer: an outage, which waiting may end. A store that refuses is a `UserError`."""


def configure(project: Path, patience: int = 15) -> str:
    """Point MLflow to the project's store, create what is missing there, and return the store's address.

    `MLFLOW_TRACKING_URI` decides; the default is the SQLite file `mlflow.db` at the project's root, with artifacts in
    `mlartifacts` beside it, also after the project was moved or copied. A tracking server has `patience` seconds for
    each answer.

    Raises:
        Unreachable: the tracking server is down.
        UserError: a wrong address or password, an outdated schema, a folder without permission, a deleted experiment.
    """
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    # it also prints a traceback of each error that it raises, such as a full disk
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    root = real_root(project)
    uri = tracking_uri(root)
    mlflow.set_tracking_uri(uri)
    try:
        if is_sqlite(uri):
            database = database_of(uri)
            database.parent.mkdir(parents=True, exist_ok=True)
            # two processes that create the schema of one database at once corrupt it
            with FileLock(f"{database}.lock"):
                # MLflow would try ten times, for a minute and a half, to open a file that can't be opened
                with closing(sqlite3.connect(database)) as connection:
                    set_right(connection, database, EXPERIMENT)
                _open_experiment(database.parent / ARTIFACTS)
        else:
            with impatient(patience):
                _open_experiment(None if uri.startswith("http") else root / ARTIFACTS)
    except (MlflowException, sqlite3.Error, OSError) as error:
        raise store_error(uri, error) from error
    return uri


def tracking_uri(root: Path) -> str:
    """`MLFLOW_TRACKING_URI`, with a relative SQLite path taken from `root`, or the project's own database."""
    return absolute_address(os.environ.get("MLFLOW_TRACKING_URI") or f"{SQLITE}mlflow.db", root)


def absolute_address(uri: str, root: Path) -> str:
    """The store's address, with a relative SQLite path taken from `root`. Any folder name makes a valid URL."""
    if not uri.startswith(SQLITE) or uri.startswith(f"{SQLITE}/"):
        return uri
    return f"{_address_of(root)}{uri.removeprefix(SQLITE)}"


def relative_address(uri: str, root: Path) -> str:
    """The inverse, for a database inside `root`: an address that stays true when the folder is moved."""
    inside = _address_of(root)
    return f"{SQLITE}{uri.removeprefix(inside)}" if uri.startswith(inside) else uri


def _address_of(folder: Path) -> str:
    path = f"{folder.as_posix()}/"
    try:
        path.encode()
    except UnicodeEncodeError:
        raise UserError(f"{folder}: its name is not UTF-8, and MLflow can't keep runs there", "rename it") from None
    escaped = re.sub("[%?]", lambda found: quote(found[0]), path)
    return f"{SQLITE if escaped == path else ODD}{escaped}"


def is_sqlite(uri: str) -> bool:
    return uri.startswith((SQLITE, ODD))


def database_of(uri: str) -> Path:
    """The file of a SQLite store."""
    return Path(unquote(uri.removeprefix(SQLITE).removeprefix(ODD).partition("?")[0]))


def restore(kind: str, number: str, uri: str | None = None) -> str:
    """Remedy for a deleted `experiment` or `run` of the store at `uri`, or of the configured one."""
    store = shlex.quote(without_password(uri or mlflow.get_tracking_uri()))
    return f"`MLFLOW_TRACKING_URI={store} mlflow {kind}s restore --{kind}-id {number}` brings it back"


def _open_experiment(artifacts: Path | None) -> None:
    known = mlflow.get_experiment_by_name(EXPERIMENT)
    if known is not None and known.lifecycle_stage == LifecycleStage.DELETED:
        fault = f"{without_password(mlflow.get_tracking_uri())}: the experiment {EXPERIMENT} was deleted"
        raise UserError(fault, restore("experiment", known.experiment_id))
    if known is None:
        try:
            mlflow.create_experiment(EXPERIMENT, artifact_location=artifacts.as_uri() if artifacts else None)
        except MlflowException as error:
            # another client of the same server was quicker
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
    experiment = mlflow.set_experiment(EXPERIMENT)
    if missing := {tag: value for tag, value in ABOUT.items() if tag not in experiment.tags}:
        mlflow.set_experiment_tags(missing)


def clients_folder(uri: str, place: str) -> Path | None:
    """Where clients of a tracking server write the files of runs at `place` themselves; None: it takes them."""
    local = uri.startswith("http") and urlsplit(place).scheme in {"", "file"}
    return Path(local_file_uri_to_path(place)) if local else None


def check_files(place: str) -> None:
    """Refuse a tracking server that leaves files of runs to its clients, at a `place` where this one can't write."""
    uri = mlflow.get_tracking_uri()
    if folder := clients_folder(uri, place):
        try:
            check_writable(folder)
        except UserError as error:
            fault = f"{without_password(uri)}: leaves the files of runs to its clients, in {folder}, and {error.fault}"
            raise UserError(fault, TAKES_FILES) from None


@contextmanager
def impatient(seconds: int = 15) -> Iterator[None]:
    """One short attempt per request; MLflow's default is to retry a server that is down for four minutes."""
    ours = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": str(seconds)}
    before = {name: os.environ.get(name) for name in ours}
    os.environ.update(ours)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def store_error(uri: str, error: Exception) -> UserError:
    """What a user is told about an error of the store; `Unreachable` if waiting may help."""
    if isinstance(error, UserError):
        return error
    shown, text = without_password(uri), without_password(one_line(error))
    if "out-of-date database schema" in text:
        upgrade = f"back it up, then run `mlflow db upgrade {shown}`"
        return UserError(f"{shown}: written by another version of MLflow", upgrade)
    if "filesystem tracking backend" in text:
        remedy = f"{UNSET}; `mlflow migrate-filestore` copies former runs into a database"
        return UserError(f"{shown}: MLflow keeps runs in a folder of files no longer", remedy)
    if "database is locked" in text:
        return Unreachable(f"{shown}: another process keeps the database locked")
    if uri.startswith("http") and any(sign in text for sign in NO_ANSWER):
        if any(sign in text for sign in WRONG_ADDRESS):
            reason = text.rpartition("Caused by ")[2]
            fault = f"{shown}: there can be no tracking server at this address ({reason})"
            return UserError(fault, "correct MLFLOW_TRACKING_URI")
        if failed := re.search(r"too many (5\d\d) error responses", text):
            remedy = "its own log says why: often its database or its store of files does not answer it"
            return Unreachable(f"{shown}: the tracking server answers with error {failed[1]}", remedy)
        return Unreachable(
            f"{shown}: the tracking server does not answer", around_proxy(uri) or f"start it, or {UNSET}"
        )
    return UserError(f"{shown}: the tracking store can't be used: {text}", around_proxy(uri))


def around_proxy(uri: str) -> str:
    """Remedy where requests to the server go through a proxy of the environment; otherwise empty."""
    if not (proxy := select_proxy(uri, get_environ_proxies(uri)) if uri.startswith("http") else None):
        return ""
    host = urlsplit(uri).hostname
    return f"it is asked through the proxy {without_password(proxy)}; after `export NO_PROXY={host}` it is asked itself"


def without_password(text: str) -> str:
    return re.sub(r"//[^/@\s]+@", "//…@", text)
