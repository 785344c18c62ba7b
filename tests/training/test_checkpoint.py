"""Checkpoints: what is written comes back to the bit, what is damaged is noticed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from quantart.errors import UserError
from quantart.training.checkpoint import Checkpoints, TrainingState, fingerprint
from quantart.training.means import Means

PRINT = fingerprint(parameters={"steps": 4}, seed=0)


def make_state(seed: int) -> TrainingState:
    """Two networks with batch statistics, an optimiser each, averaged weights: all kinds of state there are."""
    torch.manual_seed(seed)
    step = nn.ModuleDict({"model": nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)), "discriminator": nn.Linear(4, 1)})
    optimizers = {
        "generator": torch.optim.AdamW(step["model"].parameters(), lr=0.1, fused=True),
        "discriminator": torch.optim.Adam(step["discriminator"].parameters(), lr=0.1, fused=True),
    }
    averaged = AveragedModel(step["model"], multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=False)
    return TrainingState(step, optimizers, averaged, Means())


def learn(state: TrainingState, steps: range) -> None:
    for number in steps:
        x = torch.randn(8, 3, generator=torch.Generator().manual_seed(number))
        state.objective["discriminator"](state.objective["model"](x)).square().mean().backward()  # type: ignore[index]
        for optimizer in state.optimizers.values():
            optimizer.step()
            optimizer.zero_grad()
        state.means.add({"mean": x.mean()}, number)
        assert isinstance(state.averaged, AveragedModel)
        state.averaged.update_parameters(state.objective["model"])  # type: ignore[index]


def assert_same(one: TrainingState, other: TrainingState) -> None:
    ours, theirs = one.tensors(), other.tensors()
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        assert torch.equal(value, theirs[name]), name


@pytest.fixture(autouse=True)
def _notes_too(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "quantart")


@pytest.fixture
def checkpoints(tmp_path: Path) -> Checkpoints:
    checkpoints = Checkpoints(tmp_path / "stage1", PRINT)
    checkpoints.prepare()
    return checkpoints


@pytest.fixture
def saved(checkpoints: Checkpoints) -> dict[int, TrainingState]:
    """States of steps 2 and 4, both with a checkpoint."""
    states = {}
    for step in (2, 4):
        states[step] = make_state(seed=0)
        learn(states[step], range(step))
        checkpoints.save(states[step], step)
    return states


def weights_of(checkpoints: Checkpoints, step: int) -> Path:
    return checkpoints.folder / f"step-{step:08d}" / "state.safetensors"


def flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def test_a_checkpoint_restores_every_bit_and_training_continues_as_it_would_have(
    checkpoints: Checkpoints, saved: dict[int, TrainingState], caplog: pytest.LogCaptureFixture
) -> None:
    resumed = make_state(seed=1)
    assert checkpoints.restore(resumed) == 4
    assert_same(resumed, saved[4])
    assert caplog.messages == [f"resuming after step 4 from {checkpoints.folder}/step-00000004"]

    for state in (resumed, saved[4]):
        learn(state, range(4, 7))
    assert_same(resumed, saved[4])


def test_a_checkpoint_holds_all_that_training_resumes_from(saved: dict[int, TrainingState]) -> None:
    tensors = saved[4].tensors()
    for name in (
        "step/model.1.running_mean",
        "averaged/n_averaged",
        "averaged/module.0.weight",
        "optimizer/generator/0/exp_avg_sq",
        "optimizer/discriminator/1/step",
        "means/sum/mean",
        "means/count/mean",
    ):
        assert name in tensors
        assert tensors[name].any(), name


def test_a_checkpoint_from_before_an_optimisers_first_step_is_restored(checkpoints: Checkpoints) -> None:
    fresh, other = make_state(seed=0), make_state(seed=1)
    checkpoints.save(fresh, 1)
    assert checkpoints.restore(other) == 1
    assert_same(fresh, other)


def test_without_a_checkpoint_training_starts_at_0_and_nothing_changes(checkpoints: Checkpoints) -> None:
    state, untouched = make_state(seed=0), make_state(seed=0)
    assert checkpoints.restore(state) == checkpoints.last_step() == 0
    assert_same(state, untouched)


DAMAGES = ["bit", "truncated", "zeroed", "missing", "no json", "a folder", "another step"]


@pytest.mark.parametrize("damage", DAMAGES)
def test_the_checkpoint_before_a_damaged_one_is_used_and_reported(
    checkpoints: Checkpoints, saved: dict[int, TrainingState], caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    path = weights_of(checkpoints, 4)
    if damage == "bit":
        flip_a_bit(path)
    elif damage == "truncated":
        path.write_bytes(path.read_bytes()[:-7])
    elif damage == "zeroed":
        path.write_bytes(bytes(path.stat().st_size))
    elif damage == "missing":
        path.unlink()
    elif damage == "a folder":
        path.unlink()
        path.mkdir()
    elif damage == "another step":  # one bit makes another digit of it
        json = path.parent / "state.json"
        json.write_text(json.read_text().replace('"step": 4', '"step": 5'))
    else:
        (path.parent / "state.json").write_text("{")
    resumed = make_state(seed=1)
    assert checkpoints.restore(resumed) == 2
    assert_same(resumed, saved[2])
    assert str(path.parent) in caplog.messages[0]
    assert caplog.records[0].levelname == "WARNING"


def test_a_damaged_checkpoint_does_not_push_out_an_intact_one(
    checkpoints: Checkpoints, saved: dict[int, TrainingState]
) -> None:
    flip_a_bit(weights_of(checkpoints, 4))
    resumed = make_state(seed=1)
    checkpoints.restore(resumed)
    checkpoints.save(resumed, 3)
    assert sorted(path.name for path in checkpoints.folder.glob("step-*")) == ["step-00000002", "step-00000003"]


def test_with_all_checkpoints_damaged_it_stops_and_changes_nothing(
    checkpoints: Checkpoints, saved: dict[int, TrainingState]
) -> None:
    for step in saved:
        flip_a_bit(weights_of(checkpoints, step))
    state, untouched = make_state(seed=1), make_state(seed=1)
    with pytest.raises(UserError) as caught:
        checkpoints.restore(state)
    assert str(checkpoints.folder) in caught.value.fault
    assert_same(state, untouched)


def test_the_newest_two_are_kept(checkpoints: Checkpoints) -> None:
    state = make_state(seed=0)
    for step in (1, 2, 10):
        checkpoints.save(state, step)
    assert sorted(path.name for path in checkpoints.folder.glob("step-*")) == ["step-00000002", "step-00000010"]
    assert checkpoints.last_step() == 10


def test_a_half_written_folder_is_no_checkpoint(checkpoints: Checkpoints, saved: dict[int, TrainingState]) -> None:
    half = checkpoints.folder / ".step-00000006.partial"
    half.mkdir()
    (half / "state.safetensors").write_bytes(b"half")
    assert checkpoints.last_step() == 4
    learn(saved[4], range(4, 6))
    checkpoints.save(saved[4], 6)
    resumed = make_state(seed=1)
    assert checkpoints.restore(resumed) == 6
    assert_same(resumed, saved[4])
    assert not half.exists()


def test_a_full_disk_is_reported_with_the_size_and_the_checkpoint_before_stays(
    checkpoints: Checkpoints, saved: dict[int, TrainingState], monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_space(tensors: dict[str, Tensor], path: Path) -> None:
        path.write_bytes(b"part of it")
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("quantart.training.checkpoint.save_file", no_space)
    with pytest.raises(UserError) as caught:
        checkpoints.save(saved[4], 6)
    found = re.search(r"step 6 needs about 0\.0 MB in (.*), where [\d.]+ MB are free", caught.value.fault)
    assert found
    assert found[1] == str(checkpoints.folder)
    assert "step 4" in caught.value.remedy
    resumed = make_state(seed=1)
    assert checkpoints.restore(resumed) == 4
    assert not list(checkpoints.folder.glob(".*"))


def test_a_disk_that_fails_otherwise_is_reported_too(
    checkpoints: Checkpoints, saved: dict[int, TrainingState], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(tensors: dict[str, Tensor], path: Path) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("quantart.training.checkpoint.save_file", broken)
    with pytest.raises(UserError, match=r"step 6 .*Input/output error"):
        checkpoints.save(saved[4], 6)


def test_values_that_are_not_finite_are_not_written(checkpoints: Checkpoints, saved: dict[int, TrainingState]) -> None:
    saved[4].objective["model"][0].bias.data[1] = float("inf")  # type: ignore[index, union-attr]
    with pytest.raises(UserError, match=r"stopped at step 6: not finite, though the losses were: step/model\.0\.bias"):
        checkpoints.save(saved[4], 6)
    assert checkpoints.last_step() == 4


def test_the_run_is_remembered(checkpoints: Checkpoints) -> None:
    assert checkpoints.run_id is None
    checkpoints.run_id = "abc"
    again = Checkpoints(checkpoints.folder, PRINT)
    again.prepare()
    assert again.run_id == "abc"


def test_checkpoints_of_other_parameters_are_moved_aside(
    checkpoints: Checkpoints, saved: dict[int, TrainingState], caplog: pytest.LogCaptureFixture
) -> None:
    checkpoints.run_id = "abc"
    other = Checkpoints(checkpoints.folder, fingerprint(parameters={"steps": 5}, seed=0))
    other.prepare()
    assert other.run_id is None
    assert other.restore(make_state(seed=1)) == 0
    (aside,) = [path for path in checkpoints.folder.parent.iterdir() if path != checkpoints.folder]
    assert (aside / "step-00000004" / "state.safetensors").is_file()
    (message,) = caplog.messages
    assert str(aside) in message


def test_checkpoints_of_unknown_parameters_are_moved_aside_and_reported(
    checkpoints: Checkpoints, saved: dict[int, TrainingState], caplog: pytest.LogCaptureFixture
) -> None:
    (checkpoints.folder / "run.json").write_bytes(bytes(30))
    checkpoints.prepare()
    assert checkpoints.last_step() == 0
    assert "run.json is damaged" in caplog.messages[0]


def test_another_runs_folder_without_a_checkpoint_is_just_taken(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = Checkpoints(tmp_path / "stage1", fingerprint(seed=1))
    first.prepare()
    first.run_id = "abc"
    checkpoints = Checkpoints(tmp_path / "stage1", PRINT)
    checkpoints.prepare()
    assert checkpoints.run_id is None
    assert caplog.messages == []


def test_clearing_leaves_nothing(checkpoints: Checkpoints, saved: dict[int, TrainingState]) -> None:
    checkpoints.clear()
    assert not checkpoints.folder.exists()
    assert checkpoints.last_step() == 0


def test_a_fingerprint_follows_values_and_not_the_order_of_keys() -> None:
    assert fingerprint(a={"x": 1, "y": [2.0]}, b="c") == fingerprint(b="c", a={"y": [2.0], "x": 1})
    assert fingerprint(a={"x": 1}) != fingerprint(a={"x": 2})
