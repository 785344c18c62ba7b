"""Votes from the command to the comparison: real networks, a real store, a server that is killed in between."""

from __future__ import annotations

import io
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pytest
import requests
from urllib3 import PoolManager
from urllib3.exceptions import HTTPError

from quantart.data.votes import Votes
from quantart.errors import UserError
from quantart.models.stage_1 import ExperimentStage1
from quantart.models.stage_2 import ExperimentStage2
from quantart.pipeline import compare, evaluate, vote
from quantart.project import Project
from quantart.tracking.find import find_run

from .test_compare import SHAPE, track

PAIRS = 3


@pytest.fixture(scope="module")
def project(small_project: Project) -> Project:
    """With the evaluated runs `one` and `two`."""
    vqgan = ExperimentStage1(SHAPE, n_embed=64, embed_dim=8)
    for name in ("one", "two"):
        evaluate.run(small_project, track(small_project, name, ExperimentStage2.from_stage1(vqgan, vqgan, block_num=1)))
    return small_project


@contextmanager
def served(project: Project, *names: str) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    command = [sys.executable, "-m", "quantart_cli", "vote", *names, "--pairs", str(PAIRS)]
    command += ["--port", address.rpartition(":")[2]]
    with (project.root / "log").open("w") as log, subprocess.Popen(command, cwd=project.root, stderr=log) as server:
        try:
            while server.poll() is None:
                with suppress(HTTPError):
                    PoolManager().request("GET", address, retries=False)
                    break
                with suppress(subprocess.TimeoutExpired):
                    server.wait(timeout=0.2)
            assert server.poll() is None, (project.root / "log").read_text()
            yield address, server
        finally:
            server.kill()


def question(address: str, voter: str) -> dict[str, Any]:
    return requests.get(f"{address}/question", params={"voter": voter}, timeout=60).json()


def answer(address: str, voter: str, number: int, choice: str) -> dict[str, Any]:
    sent = {"voter": voter, "number": number, "choice": choice}
    return requests.post(f"{address}/vote", json=sent, timeout=60).json()


def test_votes_outlive_a_killed_server_and_are_counted_by_compare(project: Project, tmp_path: Path) -> None:
    one, two = (find_run(name).info.run_id for name in ("one", "two"))
    names = ("one", "two", "colour_matched")
    with served(project, *names) as (address, server):
        first = question(address, "x")
        second = answer(address, "x", first["number"], "left")
        answer(address, "x", second["number"], "right")
        server.send_signal(signal.SIGKILL)
        server.wait(timeout=60)
    kept = Votes(project.root / "votes.jsonl").cast
    assert [each.choice for each in kept] == ["left", "right"]
    assert all(each.sides < {one, two, "colour_matched"} for each in kept)
    with served(project, *names) as (address, server):
        found = question(address, "x")
        assert (found["done"], found["all"]) == (2, 3 * PAIRS)
        while found["number"] is not None:
            found = answer(address, "x", found["number"], "equal")
        server.send_signal(signal.SIGTERM)
        assert server.wait(timeout=60) == 0
    cast = Votes(project.root / "votes.jsonl").cast
    assert (len(cast), cast[:2]) == (3 * PAIRS, kept)
    for run_id in (one, two):
        table = mlflow.artifacts.load_text(f"runs:/{run_id}/votes/table.json")
        rows = pd.read_json(io.StringIO(table), orient="split")
        assert len(rows) == 2 * PAIRS
        assert '"votes/table.json"' in find_run(run_id).data.tags["mlflow.loggedArtifacts"]
        assert '"eval/table.json"' in find_run(run_id).data.tags["mlflow.loggedArtifacts"]
    html = tmp_path / "report.html"
    said = compare.run(project, ["one", "two"], html=html).votes
    assert said[0].startswith("B against A, by eye: not told apart; chosen in ")
    assert f"of {PAIRS} votes on {PAIRS} pairs by 1 voter." in said[0]
    assert [each.partition(",")[0] for each in said[1:3]] == ["colour_matched against A", "colour_matched against B"]
    assert said[3].startswith("By all votes together (Bradley-Terry) chosen over A: B in ")
    assert said[0] in html.read_text()


def test_every_mistake_is_a_sentence(project: Project) -> None:
    def said(*names: str, **options: Any) -> str:
        with pytest.raises(UserError) as error:
            vote.run(project, names, **options)
        return str(error.value)

    assert said("one", "one").startswith("vote: needs two, at least one of them a run, and found ")
    assert said("adain", "colour_matched").endswith("found adain, colour_matched; name another run")
    assert "run nobody is not in the tracking store" in said("one", "nobody")
    assert said("one", "two", size=33).endswith("needs a multiple of 2; give --size")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert said("one", "two", port=port) == f"port {port} is in use; --port 0 takes a free one"
    other = Project(project.root / "nothing")
    (other.root / "data").mkdir(parents=True)
    os.link(project.root / "params.yaml", other.root / "params.yaml")
    with pytest.raises(UserError, match="quantart prepare|not found|no index"):
        vote.run(other, ["one", "two"])
