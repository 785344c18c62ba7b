"""A real Ray cluster for a script, in a network and with processes of its own, which end with it."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from shutil import which
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[1]
APART = ["unshare", "--map-root-user", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
START = "ray start --head --port 6399 --include-dashboard false --object-store-memory 100000000"


def apart_exists() -> bool:
    return bool(which("unshare")) and subprocess.run([*APART, "true"], capture_output=True, check=False).returncode == 0


def ray_exists() -> bool:
    return bool(find_spec("ray")) and apart_exists()


def run_apart(script: str, *arguments: str, before: str = "true", cwd: Path = ROOT) -> str:
    """What a Python script says after the shell command `before`, in a network that has nothing but 127.0.0.1."""
    command = f'ip link set lo up; {before}; exec "$0" -c "$@"'
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}",
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    given = [*APART, "sh", "-ec", command, sys.executable, script, *arguments]
    done = subprocess.run(given, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def run_beside_ray(script: str, *arguments: str, workers: int, cwd: Path = ROOT) -> str:
    """What a script says that runs beside a cluster of so many workers."""
    with TemporaryDirectory(dir="/tmp") as folder:  # a short name: it holds sockets
        start = f"{START} --num-cpus {workers} --temp-dir {folder}"
        return run_apart(script, *arguments, before=start, cwd=cwd)
