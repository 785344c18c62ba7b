"""The MLflow UI on the project's store."""

from __future__ import annotations

import logging
import os
import sys

import mlflow

from quantart.machine.loopback import at, reachable
from quantart.tracking.store import EXPERIMENT, without_password

HOST, PORT = "127.0.0.1", 5000
log = logging.getLogger(__name__)


def show_ui(host: str, port: int) -> None:
    """Replace this process by `mlflow ui` on the configured store; a tracking server has a UI of its own."""
    uri, address = mlflow.get_tracking_uri(), runs_page(host, port)
    if uri.startswith("http"):
        log.info("the runs are on a tracking server: open %s in a browser", address)
        return
    log.info("runs of %s\nopen %s in a browser; Ctrl-C ends it", without_password(uri), address)
    if warning := reachable(host, port):
        log.warning("%s", warning)
    command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", uri, "--host", host, "--port", str(port)]
    command += ["--workers", "1"]  # for one person; each worker takes seconds to start
    environment = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"} | os.environ  # seven processes that judge LLMs
    os.execve(sys.executable, command, environment)  # noqa: S606 - our own interpreter and arguments


def runs_page(host: str = HOST, port: int = PORT) -> str:
    """Address of the table of this project's runs: on the tracking server, or where `quantart ui` listens.

    MLflow's front page is made for language model projects.
    """
    uri = mlflow.get_tracking_uri()
    server = without_password(uri).rstrip("/") if uri.startswith("http") else f"http://{at(host, port)}"
    experiment = mlflow.get_experiment_by_name(EXPERIMENT).experiment_id
    return f"{server}/#/experiments/{experiment}/runs?workflowType=machine_learning"
