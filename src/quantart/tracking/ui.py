"""The MLflow UI on the project's store."""

from __future__ import annotations

import os
import sys

import mlflow

from quantart.loopback import reachable
from quantart.tracking.store import EXPERIMENT, without_password


def show_ui(host: str, port: int) -> None:
    """Replace this process by `mlflow ui` on the store that is configured; a tracking server has a UI of its own."""
    uri = mlflow.get_tracking_uri()
    if uri.startswith("http"):
        print(f"the runs are on a tracking server: open {without_password(runs_page(uri))} in a browser")
        return
    address = runs_page(f"http://{host}:{port}")
    print(f"runs of {without_password(uri)}\nopen {address} in a browser; Ctrl-C ends it", file=sys.stderr, flush=True)
    if said := reachable(host, port):
        print(said, file=sys.stderr, flush=True)
    command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", uri, "--host", host, "--port", str(port)]
    os.execv(sys.executable, command)  # noqa: S606 - our own interpreter and arguments


def runs_page(server: str) -> str:
    """Address of the table of this project's runs; the server's front page is one for language model projects."""
    experiment = mlflow.get_experiment_by_name(EXPERIMENT).experiment_id
    return f"{server.rstrip('/')}/#/experiments/{experiment}/runs?workflowType=machine_learning"
