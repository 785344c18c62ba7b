"""The MLflow UI on the project's store."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

import mlflow


def show_ui(host: str, port: int) -> NoReturn:
    """Replace this process by `mlflow ui` on the store that is configured."""
    uri = mlflow.get_tracking_uri()
    address = f"http://{host}:{port}"
    print(f"runs of {uri}\nopen {address} in a browser; Ctrl-C ends it", file=sys.stderr, flush=True)
    command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", uri, "--host", host, "--port", str(port)]
    os.execv(sys.executable, command)  # noqa: S606 - our own interpreter and arguments
