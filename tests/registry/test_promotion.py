import json
from pathlib import Path
from uuid import uuid4

import numpy as np
import pandas as pd
import pytest
import yaml
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from quantart.data.votes import Vote
from quantart.errors import UserError
from quantart.project import Project
from quantart.registry.promotion import promote, rollback
from quantart.registry.versions import RegisteredVersion, write_registered
from quantart.registry.votes import FEWEST_PAIRS
from quantart.reporting.run_metrics import VOTES
from quantart.tracking.writer import TrackedRun

from .versions import HARD, STRUCTURE, TEXTURE, add_version, evaluate, run_id_of, values


@pytest.fixture
def name() -> str:
    """Of a registered model of its own for each test."""
    return uuid4().hex


def champion(name: str) -> str | None:
    try:
        return str(MlflowClient().get_model_version_by_alias(name, "champion").version)
    except MlflowException:
        return None


def failed(project: Project, name: str, version: str) -> list[str]:
    """The gates that keep a version out; the champion stays who it was."""
    before = champion(name)
    done = promote(project, version, name)
    assert done.refused
    assert done.move is None
    assert champion(name) == before
    return [check.gate for check in done.checks if not check.passed]


def test_the_first_champion_passes_the_limits_alone(project: Project, name: str) -> None:
    add_version(name, values())
    done = promote(project, name=name)  # the challenger, since the export is of another name
    assert [check.passed for check in done.checks] == [True, True, True]
    assert champion(name) == "1"
    assert f"version 1 is now {name}@champion" in str(done)
    evaluate(run_id_of(name, "1"), values(), digest="cd" * 32)  # what it was judged by stays known
    tags = MlflowClient().get_model_version(name, "1").tags
    assert (tags["promoted.digest"], tags["promoted.pairs"]) == ("ab" * 32, str(len(HARD)))


def test_a_broken_model_fails_and_each_failed_gate_is_said(project: Project, name: str) -> None:
    add_version(name, values(structure=1.9, texture=1.1, colour=0.098))  # all beyond their limits
    assert len(failed(project, name, "1")) == 3
    said = str(promote(project, "1", name)).splitlines()
    assert "promoted.digest" not in MlflowClient().get_model_version(name, "1").tags
    assert said[1] == "FAILED  structure_squeezenet1_1 <= 1.6: measured 1.9 (1.8 to 2)"
    assert all(part in said[-1] for part in ("version 1 ", "3 of 3", f"{name}@champion"))


def test_a_little_worse_on_every_pair_is_worse_beyond_noise(project: Project, name: str) -> None:
    add_version(name, values())
    add_version(name, values(texture=0.82))  # its interval holds the champion's value: only pair by pair it shows
    promote(project, "1", name)
    assert failed(project, name, "2") == [f"{TEXTURE} not worse than the champion"]
    said = str(promote(project, "2", name))
    assert f"FAILED  {TEXTURE} not worse than the champion: +0.02 (0.02 to 0.02) against version 1" in said
    assert all(part in said for part in ("1 of 5", f"{name}@champion is still version 1"))


def test_worse_within_noise_passes(project: Project, name: str) -> None:
    add_version(name, values())
    noisy = values()
    noisy[TEXTURE] = noisy[TEXTURE] + 0.02 + 0.2 * np.tile([1.0, -1.0], 6)
    add_version(name, noisy)
    promote(project, "1", name)
    done = promote(project, "2", name)
    assert not done.refused
    assert any("pair by pair: not told apart" in check.figures for check in done.checks)
    assert champion(name) == "2"


def test_promoted_and_rolled_back(project: Project, name: str) -> None:
    for texture in (0.84, 0.8, 0.75):
        promote(project, add_version(name, values(texture=texture)), name)
    assert champion(name) == "3"
    again = promote(project, "champion", name)
    assert (again.refused, again.move, again.checks) == (False, None, [])
    assert f"version 3 is {name}@champion" in str(again)
    assert [rollback(project, name).version for _ in range(2)] == ["2", "1"]
    assert champion(name) == "1"
    with pytest.raises(UserError) as refused:
        rollback(project, name)
    assert "version 1 is the champion" in refused.value.remedy


def test_the_version_of_the_last_export_is_the_default(project: Project, name: str) -> None:
    for _ in range(2):
        add_version(name, values())
    project.link("export").parent.mkdir(exist_ok=True)
    write_registered(project, RegisteredVersion(name, "1", "challenger", ""))
    assert promote(project, name=name).version.number == "1"
    project.link("export").unlink()


def test_other_data_is_not_compared(project: Project, name: str) -> None:
    add_version(name, values())
    add_version(name, values(), digest="cd" * 32)
    promote(project, "1", name)
    both = [f"`quantart evaluate --run-id {run_id_of(name, version)}`" for version in ("2", "1")]
    with pytest.raises(UserError) as refused:
        promote(project, "2", name)
    fault = refused.value.fault
    assert fault.index("version 2") < fault.index("cdcdcdcd") < fault.index("version 1") < fault.index("abababab")
    assert all(command in refused.value.remedy for command in both)
    evaluate(run_id_of(name, "2"), values())
    assert not promote(project, "2", name).refused


def test_the_first_champion_too_needs_enough_pairs_and_noted_data(project: Project, name: str) -> None:
    add_version(name, {metric: each[: FEWEST_PAIRS - 1] for metric, each in values().items()})
    add_version(name, values())
    MlflowClient().delete_tag(run_id_of(name, "2"), "eval/digest")
    with pytest.raises(UserError) as refused:
        promote(project, "1", name)
    assert all(part in refused.value.fault for part in ("version 1", "7 pairs", str(FEWEST_PAIRS)))
    assert "evaluate.pairs" in refused.value.remedy
    with pytest.raises(UserError) as refused:
        promote(project, "2", name)
    assert "digest" in refused.value.fault
    assert f"`quantart evaluate --run-id {run_id_of(name, '2')}`" in refused.value.remedy
    assert champion(name) is None


def test_what_was_not_measured_says_the_command(project: Project, name: str) -> None:
    add_version(name)
    without = values()
    del without[STRUCTURE]
    add_version(name, without)
    with pytest.raises(UserError) as refused:
        promote(project, "1", name)
    assert refused.value.fault.startswith("version 1 ")
    assert f"`quantart evaluate --run-id {run_id_of(name, '1')}`" in refused.value.remedy
    with pytest.raises(UserError) as refused:
        promote(project, "2", name)
    assert refused.value.fault.startswith(f"version 2: {STRUCTURE}, ")
    assert "`evaluate`" in refused.value.remedy
    assert champion(name) is None


def test_a_record_that_is_gone_is_a_sentence(project: Project, name: str) -> None:
    for _ in range(2):
        add_version(name, values())
    promote(project, "1", name)
    artifacts = MlflowClient().get_run(run_id_of(name, "2")).info.artifact_uri
    Path(artifacts.removeprefix("file://"), "eval", "table.parquet").unlink()
    with pytest.raises(UserError) as refused:
        promote(project, "2", name)
    assert refused.value.fault.startswith("version 2: ")
    assert "table.parquet" in refused.value.fault
    assert f"`quantart evaluate --run-id {run_id_of(name, '2')}`" in refused.value.remedy


def test_no_such_version_or_model_says_what_there_is(project: Project, name: str) -> None:
    for _ in range(2):
        add_version(name)
    with pytest.raises(UserError) as refused:
        promote(project, "7", name)
    assert "'7'" in refused.value.fault
    assert refused.value.remedy == "versions: 2, 1; aliases: challenger (2)"
    for wrong in ("unheard-of", "a/b"):
        with pytest.raises(UserError) as refused:
            promote(project, name=wrong)
        assert wrong in refused.value.fault
        assert name in refused.value.remedy


def test_a_version_without_a_run_cannot_be_judged(project: Project, name: str) -> None:
    MlflowClient().create_registered_model(name)
    MlflowClient().create_model_version(name, "file:///nowhere")
    with pytest.raises(UserError) as refused:
        promote(project, "1", name)
    assert refused.value.fault.startswith("version 1: its training run (none named) ")


def with_gates(folder: Path, project: Project, **gates: object) -> Project:
    """Another project on the same store."""
    params = yaml.safe_load((project.root / "params.yaml").read_text())
    params["promote"] = {"limits": [], "not_worse": [], **gates}
    (folder / "params.yaml").write_text(json.dumps(params))
    return Project(folder)


def test_without_gates_everything_passes(project: Project, name: str, tmp_path: Path) -> None:
    add_version(name, values(structure=99.0))
    assert not promote(with_gates(tmp_path, project), "1", name).refused


def log_votes(name: str, preferred: int, pairs: int) -> None:
    """Version 2 is chosen over version 1 on the first `preferred` of `pairs`; each run has half of the votes."""
    old, new = run_id_of(name, "1"), run_id_of(name, "2")
    votes = [
        Vote("", "v", f"{n}.jpg", f"{n}.png", old, new, "right" if n < preferred else "left", 64) for n in range(pairs)
    ]
    for run_id, of_run in {old: votes[: pairs // 2], new: votes[pairs // 2 :]}.items():
        TrackedRun(run_id).table(pd.DataFrame(of_run), VOTES)


def test_votes_are_a_gate_where_there_is_a_champion(project: Project, name: str, tmp_path: Path) -> None:
    asking = with_gates(tmp_path, project, votes="win_rate >= 0.5 against champion")
    for _ in range(2):
        add_version(name, values())
    assert not promote(asking, "1", name).refused
    with pytest.raises(UserError) as refused:
        promote(asking, "2", name)
    assert refused.value.fault == (
        "version 2 and version 1, the champion, were compared by eye on 0 pairs, and promote.votes needs at least 8"
    )
    assert f"`quantart vote {run_id_of(name, '2')} {run_id_of(name, '1')}`" in refused.value.remedy
    log_votes(name, preferred=4, pairs=12)
    assert failed(asking, name, "2") == ["win_rate >= 0.5 against champion"]
    log_votes(name, preferred=6, pairs=12)
    assert not (done := promote(asking, "2", name)).refused
    (check,) = done.checks
    assert check.figures == "chosen in 0.5 (0.2456 to 0.7544) of 12 votes on 12 pairs against version 1"


def test_a_table_that_holds_no_votes_is_a_sentence(project: Project, name: str, tmp_path: Path) -> None:
    asking = with_gates(tmp_path, project, votes="win_rate >= 0.5 against champion")
    for _ in range(2):
        add_version(name, values())
    promote(asking, "1", name)
    TrackedRun(run_id_of(name, "1")).table(pd.DataFrame({"voter": ["v"]}), VOTES)
    with pytest.raises(UserError, match="version 1: votes/table.json: line 1: no vote"):
        promote(asking, "2", name)
