"""Starts `quantart` commands as processes of their own within milliseconds: everything is imported once, then forked.

Reads one JSON line for each command from its input: `argv`, `cwd`, `out` (file for stdout and stderr) and `inject`
(Python to run first in the new process, that brings a fault about). Answers with the process's id, and once it has
ended with its exit code, negative for a signal.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import threading
import traceback
from typing import Any

PRELOADED = (
    "mlflow",
    "mlflow.data",
    "mlflow.store.tracking.sqlalchemy_store",
    "mlflow.system_metrics.system_metrics_monitor",
    "quantart.losses.lpips",
    "quantart.pipeline.encode",
    "quantart.pipeline.pair",
    "quantart.pipeline.prepare",
    "quantart.pipeline.stage1",
    "quantart.pipeline.stage2",
    "quantart_cli.__main__",
)


def run(order: dict[str, Any]) -> None:
    """Be the command; never returns."""
    out = os.open(order["out"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(out, 1)
    os.dup2(out, 2)
    os.chdir(order["cwd"])
    sys.argv = ["quantart", *order["argv"]]
    code: Any = 0
    try:
        exec(compile(order["inject"], "<fault>", "exec"), {})
        sys.modules["quantart_cli.__main__"].main()
    except SystemExit as error:
        code = error.code or 0
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def main() -> None:
    for name in PRELOADED:
        importlib.import_module(name)
    assert threading.active_count() == 1, "a thread does not survive a fork"
    for line in sys.stdin:
        if (pid := os.fork()) == 0:
            run(json.loads(line))
        print(pid, flush=True)
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


main()
