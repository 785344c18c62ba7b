"""Where MLflow keeps runs, pictures and models: one place per project, whatever folder one is in."""

from __future__ import annotations

import logging
import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import mlflow
from filelock import FileLock
from mlflow.exceptions import MlflowException

from quantart.errors import UserError

EXPERIMENT = "quantart"
SQLITE = "sqlite:///"
# MLflow wraps whatever happens to a request in one class of exception, that of a server's refusal
NO_ANSWER = ("failed with exception", "failed with timeout exception")
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
    """The tracking server does not answer: an outage, not a mistake in what was asked for."""


def configure(project: Path, patience: int = 15) -> str:
    """Point MLflow to the project's store, make what is missing there, and return the store's address.

    `MLFLOW_TRACKING_URI` decides; by default it is the SQLite file `mlflow.db` at the project's root. Artifacts lie
    in `mlartifacts` beside the database; a tracking server chooses its own place for them. The address is handed on
    to child processes.

    Args:
        project: the project's root.
        patience: seconds for each answer of a tracking server.

    Raises:
        Unreachable: the tracking server is down.
        UserError: the store can't be opened: an address that leads nowhere, an outdated schema, a folder without
            permission, a password that is wrong.
    """
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    # it prints a traceback of what it raises as well, a disk that is full for one
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    root = real_root(project)
    uri = tracking_uri(root)
    mlflow.set_tracking_uri(uri)
    try:
        if uri.startswith(SQLITE):
            database = Path(uri.removeprefix(SQLITE).partition("?")[0])
            database.parent.mkdir(parents=True, exist_ok=True)
            # two processes that make the schema of one database at once destroy each other's
            with FileLock(f"{database}.lock"):
                _check_file(database)
                _open_experiment(database.parent / "mlartifacts")
        else:
            with impatient(patience):
                _open_experiment(None if uri.startswith("http") else root / "mlartifacts")
    except (MlflowException, sqlite3.Error, OSError) as error:
        raise store_error(uri, error) from error
    return uri


def real_root(project: Path) -> Path:
    """The project's absolute root; for the temporary copy that a queued DVC experiment runs in, the original's."""
    root, _, _ = project.resolve().as_posix().partition("/.dvc/tmp/exps/")
    return Path(root)


def tracking_uri(root: Path) -> str:
    """`MLFLOW_TRACKING_URI`, with a relative SQLite path taken from `root`, or the project's own database."""
    uri = os.environ.get("MLFLOW_TRACKING_URI") or f"{SQLITE}mlflow.db"
    if uri.startswith(SQLITE):
        return f"{SQLITE}{(root / uri.removeprefix(SQLITE)).as_posix()}"
    return uri


def _check_file(database: Path) -> None:
    # MLflow would try a file that can't be opened ten times, over a minute and a half
    connection = sqlite3.connect(database)
    try:
        connection.execute("PRAGMA schema_version")
    finally:
        connection.close()


def _open_experiment(artifacts: Path | None) -> None:
    if mlflow.get_experiment_by_name(EXPERIMENT) is None:
        location = artifacts.as_uri() if artifacts else None
        try:
            mlflow.create_experiment(EXPERIMENT, artifact_location=location)
        except MlflowException as error:
            # another client of the same server was quicker
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
    experiment = mlflow.set_experiment(EXPERIMENT)
    if missing := {tag: value for tag, value in ABOUT.items() if tag not in experiment.tags}:
        mlflow.set_experiment_tags(missing)


@contextmanager
def impatient(seconds: int = 15) -> Iterator[None]:
    """One short attempt per request: MLflow's own patience with a server that is down is four minutes."""
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
    """What a user is told of an error of the store; `Unreachable` where waiting may mend it."""
    text = " ".join(str(error).split())
    if "out-of-date database schema" in text:
        said = f"{uri}: written by another version of MLflow; back it up, then run `mlflow db upgrade {uri}`"
    elif "database is locked" in text:
        return Unreachable(without_password(f"{uri}: another process keeps the database locked"))
    elif uri.startswith("http") and any(sign in text for sign in NO_ANSWER):  # three lines about the connection
        if not any(sign in text for sign in WRONG_ADDRESS):
            said = f"{uri}: the tracking server does not answer; start it or unset MLFLOW_TRACKING_URI"
            return Unreachable(without_password(said))
        said = f"{uri}: no tracking server can be there ({text.rpartition('Caused by ')[2]}); mend MLFLOW_TRACKING_URI"
    else:
        said = f"{uri}: the tracking store can't be used: {text}"
    return UserError(without_password(said))


def without_password(text: str) -> str:
    return re.sub(r"//[^/@\s]+@", "//…@", text)
