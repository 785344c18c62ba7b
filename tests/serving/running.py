"""A real server process, and requests to it."""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import subprocess
import sys
import sysconfig
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import quantart
from quantart.images.arrays import Picture, encode_png

START_SECONDS = 600
JSON = "application/json"

FORMS = {
    "dataframe_split": lambda content, style: {"columns": ["content", "style"], "data": [[content, style]]},
    "dataframe_records": lambda content, style: [{"content": content, "style": style}],
    "inputs": lambda content, style: {"content": [content], "style": [style]},
    "instances": lambda content, style: [{"content": content, "style": style}],
}


def start(uri: str, log: Path, limits: Mapping[str, int] | None = None) -> subprocess.Popen[bytes]:
    """`quantart serve` on a free port, as a service manager would start it: away from the environment's PATH.

    Its interpreter has no `uvicorn` beside it, and the first one on PATH is another's. Its temporary files go to the
    folder `temporary` beside the log.
    """
    temporary = log.with_name("temporary")
    temporary.mkdir(exist_ok=True)
    code = (
        "import json, sys; from quantart.serving.server import serve;"
        "serve(sys.argv[1], port=0, limits=json.loads(sys.argv[2]))"
    )
    python, other = log.with_name("python"), log.parent / "others" / "uvicorn"
    python.unlink(missing_ok=True)
    python.symlink_to(os.path.realpath(sys.executable))
    other.parent.mkdir(exist_ok=True)
    other.write_text("#!/bin/sh\nexit 3\n")
    other.chmod(0o755)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TMPDIR": str(temporary)}
    packages = [str(Path(quantart.__file__).parents[1]), sysconfig.get_path("purelib")]
    environment |= {"PATH": f"{other.parent}:/usr/bin:/bin", "PYTHONPATH": os.pathsep.join(packages)}
    with log.open("w") as file:
        command = [str(python), "-c", code, uri, json.dumps(limits or {})]
        return subprocess.Popen(command, cwd=log.parent, env=environment, stdout=file, stderr=file)


def wait_until_it_answers(process: subprocess.Popen[bytes], log: Path) -> str:
    """Its address."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        if address := re.search(r"http://127\.0\.0\.1:\d+", log.read_text()):
            try:
                with urllib.request.urlopen(f"{address[0]}/ping", timeout=5):
                    return address[0]
            except urllib.error.URLError:
                pass
        time.sleep(0.1)
    raise AssertionError(f"no server after {START_SECONDS} s: {log.read_text()}")


def wait_until_gone(files: Path) -> None:
    """Until nothing is left of a server's temporary files, which are removed after its end."""
    deadline = time.monotonic() + 60
    while left := list(files.iterdir()):
        assert time.monotonic() < deadline, left
        time.sleep(0.01)


@contextmanager
def running(uri: str, folder: Path, limits: Mapping[str, int] | None = None) -> Iterator[str]:
    log = folder / "log"
    process = start(uri, log, limits)
    try:
        yield wait_until_it_answers(process, log)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)


def post(server: str, body: bytes, content_type: str = JSON) -> tuple[int, Any]:
    """Status and answer; the text itself where it is not JSON."""
    request = urllib.request.Request(f"{server}/invocations", body, {"Content-Type": content_type})
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        text = error.read().decode()
        try:
            return error.code, json.loads(text)
        except ValueError:
            return error.code, text


def ask(server: str, request: Any) -> tuple[int, Any]:
    return post(server, json.dumps(request).encode())


def as_text(picture: Picture) -> str:
    return base64.b64encode(encode_png(picture)).decode()
