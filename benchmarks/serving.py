"""How the served model does under load: the table in docs/serving.md.

Starts `quantart serve` in the present project, or with quantart/open where there is none, sends it pictures of
data/sample from a process of its own, compares each answer with the one computed directly, and reports requests per
second, quantiles of the time to an answer, and the memory of the server's processes before and after each row. Ends
with code 1 where an answer was wrong or lost, or memory grew by 5 % or more while the number of styles was the same.
Nothing else should run beside it.

    python benchmarks/serving.py [--clients 4] [--model URI] [--limit at_once=2] [--threads 1] [--json]
"""

from __future__ import annotations

import argparse
import base64
import http.client
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import psutil

from quantart.project import project_if_any
from quantart.registry.versions import default_address
from quantart.serving.server import fetch_model
from quantart.tracking.store import configure

SAMPLE = Path(__file__).parents[1] / "data" / "sample"
CLIENTS = (1, 4, 16)
STYLES = {"same style": 1, "many styles": 16}
PHOTOS = 4
SIZE = 384  # pixels of the painted pictures' long side
START_SECONDS = 300
MOST_GROWTH = 0.05

Job = tuple[bytes, str]  # the body of a request, the right answer's picture


@contextmanager
def server(arguments: list[str]) -> Iterator[tuple[str, psutil.Process]]:
    """Address and process of `quantart serve`."""
    with tempfile.TemporaryFile("w+") as log:
        command = [sys.executable, "-m", "quantart_cli", "serve", "--port", "0", *arguments]
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + START_SECONDS
            while time.monotonic() < deadline and process.poll() is None:
                log.seek(0)
                address = next((word for word in log.read().split() if word.startswith("http://127")), None)
                if address and answers(address.replace("invocations", "ping")):
                    break
                time.sleep(0.2)
            else:
                log.seek(0)
                sys.exit(f"the server did not start:\n{log.read()}")
            yield address, psutil.Process(process.pid)
            log.seek(0)
            print(next((line for line in reversed(log.readlines()) if "painted" in line), "").strip(), file=sys.stderr)
        finally:
            process.terminate()
            process.wait(timeout=60)


def answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=5):  # noqa: S310 - our own server
            return True
    except urllib.error.URLError:
        return False


def memory(process: psutil.Process) -> int:
    """Bytes resident, of the process and all that it started."""
    return sum(each.memory_info().rss for each in [process, *process.children(recursive=True)])


def make_jobs(model: mlflow.pyfunc.PyFuncModel, styles: int) -> list[Job]:
    """One request for each of the photographs and styles, with the right answer."""
    photos, paintings = (sorted((SAMPLE / domain).glob("*.jpg")) for domain in ("photos", "paintings"))
    jobs = []
    for photo, painting in product(photos[:PHOTOS], paintings[:styles]):
        row = {
            name: base64.b64encode(file.read_bytes()).decode()
            for name, file in {"content": photo, "style": painting}.items()
        }
        body = {"dataframe_records": [row], "params": {"size": SIZE}}
        jobs.append((json.dumps(body).encode(), model.predict(pd.DataFrame([row]), params={"size": SIZE})["image"][0]))
    return jobs


def send(address: str, job: Job) -> tuple[float, str]:
    """Seconds to the answer, and `right`, `wrong` or why it was lost."""
    body, expected = job
    request = urllib.request.Request(address, body, {"Content-Type": "application/json"})  # noqa: S310 - our own server
    start = time.monotonic()
    try:
        with urllib.request.urlopen(request) as answer:  # noqa: S310 - our own server
            received = answer.read()
    except (OSError, http.client.HTTPException) as error:
        return time.monotonic() - start, f"{type(error).__name__}: {error}"
    seconds = time.monotonic() - start
    try:
        return seconds, "right" if json.loads(received)["predictions"][0]["image"] == expected else "wrong"
    except (ValueError, LookupError, TypeError):
        return seconds, "wrong"


def send_all(address: str, jobs: list[Job], requests: int, clients: int) -> tuple[float, list[tuple[float, str]]]:
    """Seconds for all, and for each; every client sends its next request when it has its answer."""
    start = time.monotonic()
    with ThreadPoolExecutor(clients) as pool:
        done = list(pool.map(lambda place: send(address, jobs[place % len(jobs)]), range(requests)))
    return time.monotonic() - start, done


def figures(name: str, clients: int, seconds: float, done: list[tuple[float, str]]) -> dict[str, Any]:
    p50, p95, p99 = np.quantile([each for each, _ in done], (0.5, 0.95, 0.99))
    found = [verdict for _, verdict in done]
    lost = [verdict for verdict in found if verdict not in {"right", "wrong"}]
    return {
        "styles": name,
        "clients": clients,
        "requests": len(done),
        "per_second": len(done) / seconds,
        "p50": p50,
        "p95": p95,
        "p99": p99,
        "right": found.count("right"),
        "wrong": found.count("wrong"),
        "lost": len(lost),
        "reasons": sorted(set(lost)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=2000, help="in all, over all rows of the table")
    parser.add_argument("--clients", type=int, nargs="+", default=CLIENTS, help="at the same time, in turn")
    parser.add_argument("--model", help="registry address; default: the project's")
    parser.add_argument("--limit", action="append", default=[], help="of `quantart serve`")
    parser.add_argument("--threads", type=int, default=0, help="of `quantart serve`")
    parser.add_argument("--json", action="store_true", help="print JSON in place of a table")
    options = parser.parse_args()

    if project := project_if_any():
        configure(project.root)
    model = options.model or default_address(project)
    if options.threads:  # as the server: another number rounds sums in another order, and near ties fall otherwise
        os.environ["OMP_NUM_THREADS"] = str(options.threads)
    path = sys.path.copy()
    direct = mlflow.pyfunc.load_model(str(fetch_model(model)))
    sys.path[:] = path  # the model's own code came first, which lacks what the sender imports
    jobs = {name: make_jobs(direct, styles) for name, styles in STYLES.items()}

    arguments = ["--model", model, "--threads", str(options.threads)]
    arguments += [text for limit in options.limit for text in ("--limit", limit)]
    rows = []
    share = -(-options.requests // (len(STYLES) * len(options.clients)))
    with server(arguments) as (address, process), ProcessPoolExecutor(1, get_context("spawn")) as sender:
        warm = [job for each in jobs.values() for job in each]
        sender.submit(send_all, address, warm, len(warm), options.clients[-1]).result()
        before = memory(process)
        for (name, each), clients in product(jobs.items(), options.clients):
            rows.append(figures(name, clients, *sender.submit(send_all, address, each, share, clients).result()))
            rows[-1]["memory"] = memory(process)
        after = rows[-1]["memory"]
    growth = max(grown(rows, name) for name in STYLES)
    if options.json:
        found = {"rows": rows, "memory_before": before, "memory_after": after, "growth": growth}
        print(json.dumps(found, indent=2))
    else:
        print_table(rows, before, after)
    if faults := judged(rows, growth):
        sys.exit("\n".join(faults))


def grown(rows: list[dict[str, Any]], styles: str) -> float:
    """By what share memory is larger after the last row with so many styles than after the first."""
    sizes = [row["memory"] for row in rows if row["styles"] == styles]
    return float(sizes[-1] / sizes[0] - 1)


def print_table(rows: list[dict[str, Any]], before: int, after: int) -> None:
    """In Markdown."""
    print("| styles | clients | requests | per second | p50 (s) | p95 (s) | p99 (s) | right | wrong | lost | MB |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for row in rows:
        times = " | ".join(f"{row[name]:.3f}" for name in ("p50", "p95", "p99"))
        start = f"| {row['styles']} | {row['clients']} | {row['requests']} | {row['per_second']:.2f} | {times} "
        print(f"{start}| {row['right']} | {row['wrong']} | {row['lost']} | {row['memory'] / 1e6:.0f} |")
    growth = after / before - 1
    print(f"\nMemory: {before / 1e6:.0f} MB after warming up, {after / 1e6:.0f} MB at the end ({growth:+.1%}).")


def judged(rows: list[dict[str, Any]], growth: float) -> list[str]:
    """What is not as it should be, in sentences."""
    faults = [
        f"{row['styles']}, {row['clients']} clients: {row['wrong']} wrong, {row['lost']} lost; {row['reasons']}"
        for row in rows
        if row["wrong"] or row["lost"]
    ]
    if growth >= MOST_GROWTH:
        faults.append(f"memory grew by {growth:.1%}; it should be less than {MOST_GROWTH:.0%}")
    return faults


if __name__ == "__main__":
    main()
