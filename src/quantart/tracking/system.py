"""Load of processor, memory, disk, network and GPUs during a run.

MLflow's monitor measures it. Its own loop is not used: that asks the tracking server before each sample, and ends for
good when it gets no answer.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress

from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

from quantart.errors import UserError


@contextmanager
def sampled_system(seconds: float, log: Callable[[Mapping[str, float]], None]) -> Iterator[None]:
    """Call `log` with `system/…` values every `seconds`, from a thread."""
    ended = threading.Event()

    def sample() -> None:
        monitor = SystemMetricsMonitor("")
        monitor.collect_metrics()  # thrown away: the processor's load is measured from one call to the next
        while not ended.wait(seconds):
            for each in monitor.monitors:
                each.clear_metrics()
            monitor.collect_metrics()
            with suppress(UserError):  # training reports a full disk
                log({f"system/{name}": float(value) for name, value in monitor.aggregate_metrics().items()})

    thread = threading.Thread(target=sample, daemon=True, name="system metrics")
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
