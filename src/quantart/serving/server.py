"""MLflow's scoring server with settings that suit this model."""

from __future__ import annotations

import errno
import json
import logging
import os
import shlex
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import mlflow
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.pyfunc.scoring_server import get_cmd
from mlflow.store.artifact.utils.models import get_model_name_and_version

from quantart.errors import UserError
from quantart.machine.disk import writing
from quantart.machine.loopback import at, reachable
from quantart.models.folder import file_sha256
from quantart.models.shipped import SHIPPED
from quantart.serving.folder import SHA256_TAG, SUMS, check_networks, loadable
from quantart.serving.package import package_shipped
from quantart.serving.requests import Limits
from quantart.vocabulary.names import VARIANTS

log = logging.getLogger(__name__)

GRACE_SECONDS = 10  # after the model's own limit, so that its sentence comes before MLflow's timeout
MODEL_CONFIG = "MLFLOW_PYFUNC_INFERENCE_CONFIG"  # what overrides a model's configuration


def fetch_model(uri: str) -> Path:
    """The folder of the model at `uri`, downloaded unless it is on this machine, after checking its networks.

    `quantart/open`, the model that comes with the package, is packaged in a folder for temporary files.

    The checksums of a registered version are themselves compared with the registry's tag.

    Raises:
        UserError: nothing is registered or stored at `uri`, or it is not what was packaged.
    """
    if uri == SHIPPED:
        packaged = Path(tempfile.mkdtemp(), "model")
        with writing(
            SHIPPED, 24 * 10**6, packaged.parent, lambda: "serve it again, with TMPDIR on a disk that has room"
        ):
            package_shipped(packaged)
        return packaged
    try:
        expected = None
        if uri.startswith("models:/"):
            # by the address, not by what the folder says: versions that share a folder all write their number there
            name_and_version = get_model_name_and_version(MlflowClient(), uri)
            if len(name_and_version) == 2:  # otherwise a logged model's id
                expected = MlflowClient().get_model_version(*name_and_version).tags.get(SHA256_TAG)
        folder = Path(mlflow.artifacts.download_artifacts(uri))
    except (MlflowException, OSError) as error:
        reason = str(error).splitlines()[0]
        remedy = f"`quantart export` registers the trained models of a project; {SHIPPED} comes with the package"
        raise UserError(f"{uri}: no model there ({reason})", remedy) from None
    artifacts = folder / "artifacts"
    check_networks([artifacts / each for each in VARIANTS if (artifacts / each).is_dir()], artifacts / SUMS)
    if expected not in {None, file_sha256(artifacts / SUMS)}:
        fault = f"{artifacts / SUMS}: not the checksums that the registry has of {uri}"
        raise UserError(fault, "export the model again")
    return folder


def serve(
    uri: str, host: str = "127.0.0.1", port: int = 5001, *, limits: Mapping[str, int] | None = None, threads: int = 0
) -> NoReturn:
    """Replace this process by MLflow's scoring server for the model at `uri`.

    One worker answers requests in threads and uses all cores; each further one would hold another copy of the network.

    Args:
        uri: e.g. `models:/quantart@champion`, for which the tracking store must be configured, or `quantart/open`.
        host: the server asks for no password, so anyone who can reach this address can use it.
        port: 0 takes a free one.
        limits: override those of the model.
        threads: of each network; 0: one per core.

    Raises:
        UserError: there is no such model, it is not what was packaged, or nothing can listen at the address.
    """
    port = usable_port(host, port)
    _keep_temporary_files_together()
    folder = fetch_model(uri)
    log.info("serving %s at http://%s/invocations", uri, at(host, port))
    if said := reachable(host, port):
        log.warning("%s", said)
    seconds = Limits.of(limits).max_seconds + GRACE_SECONDS
    command, environment = get_cmd(str(loadable(folder)), port, host, seconds, nworkers=1)
    environment["TMPDIR"] = tempfile.gettempdir()
    if limits:
        environment[MODEL_CONFIG] = json.dumps(dict(limits))
    if threads:
        environment["OMP_NUM_THREADS"] = str(threads)
    # `uvicorn …`: by this interpreter, for another may come first on PATH, or none; -P: not from the current folder
    os.execve(sys.executable, [sys.executable, "-P", "-m", *shlex.split(command)], environment)  # noqa: S606


def _keep_temporary_files_together() -> None:
    """In a folder that is removed when this process ends, however it ends and whatever program it runs by then.

    A shell in the background removes it. Where there is none, as in some containers, the folder stays.
    """
    folder = tempfile.tempdir = tempfile.mkdtemp(prefix="quantart-")
    reads, writes = os.pipe()
    os.set_inheritable(writes, True)  # through exec: it is closed when this process ends
    # in the background, in a session of its own, and not ended by a signal that all processes of a service get
    remove, quiet = 'trap "" HUP INT TERM; exec 3<&0; { read _ <&3; rm -rf "$0"; } &', subprocess.DEVNULL
    command = ["/bin/sh", "-c", remove, folder]
    with suppress(OSError):
        subprocess.run(command, stdin=reads, stdout=quiet, stderr=quiet, start_new_session=True, check=False)
    os.close(reads)


def usable_port(host: str, port: int) -> int:
    """The port, or a free one for 0, after checking that a server can listen there."""
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server: ended connections may linger
            probe.bind((host, port))
            return int(probe.getsockname()[1])
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise UserError(f"port {port} is in use", "--port 0 takes a free one") from None
        raise UserError(f"--host {host} --port {port}: no server can listen there ({error.strerror})") from None
