"""`mlflow models serve` with settings that suit this model."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path
from typing import NoReturn

import mlflow
from mlflow.exceptions import MlflowException

from quantart.errors import UserError

TIMEOUT_SECONDS = 300  # a large picture on a slow CPU; MLflow's own limit is 60
LOOPBACK = {"127.0.0.1", "localhost", "::1"}


def check_model(uri: str) -> None:
    """See that there is a model to serve.

    Raises:
        UserError: nothing is registered or stored at `uri`.
    """
    try:
        mlflow.models.get_model_info(uri)
    except (MlflowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{uri}: no model there ({reason}); `dvc repro` trains and registers one") from None


def serve(uri: str, host: str = "127.0.0.1", port: int = 5001) -> NoReturn:
    """Replace this process by MLflow's scoring server for the model at `uri`.

    One worker answers requests in threads and uses all cores; each further one would hold another copy of the network.

    Args:
        uri: e.g. `models:/quantart@champion`; the tracking store must be configured.
        host: address to listen at. The server knows no passwords: anyone who can reach another address than this
            machine's own can use it.
        port: 0 takes a free one.
    """
    port = port or _free_port(host)
    print(f"serving {uri} at http://{host}:{port}/invocations", file=sys.stderr)
    if host not in LOOPBACK:
        print(f"anyone who reaches {host}:{port} can use it: it asks for no password", file=sys.stderr)
    # MLflow starts `uvicorn` by its name: the one beside this interpreter is meant
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    command = [sys.executable, "-m", "mlflow", "models", "serve", "--model-uri", uri, "--env-manager", "local"]
    command += ["--host", host, "--port", str(port), "--timeout", str(TIMEOUT_SECONDS), "--workers", "1"]
    sys.stderr.flush()
    os.execve(sys.executable, command, {**os.environ, "PATH": path})  # noqa: S606 - our own interpreter and arguments


def _free_port(host: str) -> int:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])
