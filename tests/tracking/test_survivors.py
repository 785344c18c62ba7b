"""The first process of a run was killed: what another one does for the run, with a real store."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from mlflow import MlflowClient

from quantart.tracking import survivors
from quantart.tracking.session import stage_run
from quantart.tracking.spool import Spool, find_spools
from quantart.tracking.store import configure
from quantart.tracking.survivors import ends_failed

KILLED = """
import os, sys
from pathlib import Path
from quantart.tracking.session import stage_run
from quantart.tracking.spool import Spool

with stage_run(Path(sys.argv[1]), stage="stage1", name="stage1_base", params={}) as run:
    run.deliver()
    Spool.next = lambda self: None  # what comes now is not delivered any more
    run.metrics({"loss": 0.5}, 7)
    Path(sys.argv[1], "id").write_text(run.run_id)
    os.kill(os.getpid(), 9)
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    return tmp_path


def lose_the_others(project: Path, run_id: str) -> None:
    with pytest.raises(RuntimeError, match="Connection closed"), ends_failed(project, lambda: run_id):
        raise RuntimeError("Connection closed by peer")


def killed(project: Path) -> str:
    """The id of a run whose process was killed before all was delivered."""
    subprocess.run([sys.executable, "-c", KILLED, str(project)], timeout=120, check=False)
    assert [spool.left() for spool in find_spools(project)] == [1]
    return (project / "id").read_text()


def test_the_run_fails_with_all_that_was_logged(project: Path) -> None:
    run_id = killed(project)
    lose_the_others(project, run_id)
    run = MlflowClient().get_run(run_id)
    assert (run.info.status, run.data.metrics["loss"]) == ("FAILED", 0.5)
    assert find_spools(project) == []


def test_what_a_store_does_not_take_is_kept_with_the_runs_end(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run_id = killed(project)
    with monkeypatch.context() as patch:
        patch.setattr(Spool, "mark", lambda self, delivered: (_ for _ in ()).throw(OSError("no store")))
        lose_the_others(project, run_id)
        lose_the_others(project, run_id)
    assert "the run's end is kept and delivered later" in capsys.readouterr().err
    assert [spool.left() for spool in find_spools(project)] == [2]  # one end, not two
    lose_the_others(project, run_id)
    assert MlflowClient().get_run(run_id).info.status == "FAILED"


def test_a_run_whose_first_process_lives_is_left_to_it(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(survivors, "GONE", 0.1)
    with stage_run(project, stage="stage1", name="stage1_base", params={}) as run:
        run.deliver()
        lose_the_others(project, run.run_id)
        assert MlflowClient().get_run(run.run_id).info.status == "RUNNING"
    assert MlflowClient().get_run(run.run_id).info.status == "FINISHED"


def test_a_run_without_a_spool_fails_only_if_nobody_ended_it(project: Path) -> None:
    configure(project)
    client = MlflowClient()
    experiment = client.get_experiment_by_name("quantart")
    running, ended = (client.create_run(experiment.experiment_id).info.run_id for _ in range(2))
    client.set_terminated(ended, "KILLED")
    for run_id in (running, ended):
        lose_the_others(project, run_id)
    assert [client.get_run(run_id).info.status for run_id in (running, ended)] == ["FAILED", "KILLED"]
