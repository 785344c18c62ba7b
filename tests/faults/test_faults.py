"""Other faults that a training process meets, each brought about for real."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from .projects import TRAIN, Ended, Quantart, copy_project, result, runs_of, set_params, steps_kept, wait_until
from .test_kills import KILLED, kill_itself

Fresh = Callable[..., Path]
BOTH = pytest.mark.parametrize("stage", ["stage1_base", pytest.param("stage2_discrete", marks=pytest.mark.faults)])


def killed_after(step: int) -> str:
    """Has the process kill itself where the checkpoint of `step` should be written (they come every second step)."""
    return kill_itself("half of a checkpoint written").replace("when=2", f"when={step // 2}")


def sentence(ended: Ended) -> str:
    """The one sentence that a mistake or fault ended with."""
    assert "Traceback" not in ended.out
    (line,) = [line for line in ended.out.splitlines() if line.startswith("error: ")]
    assert ended.code == 2
    return line.removeprefix("error: ")


def status(root: Path, stage: str) -> str:
    (run,) = runs_of(root, stage)
    return str(run.info.status)


@pytest.mark.parametrize(
    ("signum", "code"),
    [(signal.SIGTERM, 143), pytest.param(signal.SIGINT, 130, marks=pytest.mark.faults)],
)
def test_a_signal_leaves_a_checkpoint_of_the_last_step_and_a_killed_run(
    signum: signal.Signals, code: int, quantart: Quantart, fresh: Fresh
) -> None:
    stage = "stage1_base"
    root = fresh(stage, {"stage1.base.steps": 4000, "stage1.base.validate_every": 4000})
    command = quantart.start(root, *TRAIN[stage])
    wait_until(lambda: steps_kept(root, stage), "a checkpoint")
    command.send(signum)
    ended = command.end()
    assert ended.code == code, ended.out
    last = steps_kept(root, stage)[-1]
    assert f"stopped by {signum.name}: a checkpoint was written after step {last}" in ended.out
    assert status(root, stage) == "KILLED"


@BOTH
@pytest.mark.parametrize("damage", ["truncated", pytest.param("zeroed", marks=pytest.mark.faults), "flipped"])
def test_a_damaged_checkpoint_is_said_and_the_one_before_it_used(
    stage: str, damage: str, quantart: Quantart, fresh: Fresh, undisturbed: Callable[[str], dict[str, object]]
) -> None:
    root = fresh(stage)
    assert quantart(root, *TRAIN[stage], inject=killed_after(6)).code == KILLED
    assert steps_kept(root, stage) == [2, 4]
    newest = root / ".quantart" / "checkpoints" / stage / "step-00000004" / "state.safetensors"
    data = bytearray(newest.read_bytes())
    if damage == "truncated":
        data = data[: len(data) // 3]
    elif damage == "zeroed":
        data = bytearray(len(data))
    else:
        data[len(data) // 2] ^= 16
    newest.write_bytes(data)
    said = " ".join(quantart.well(root, *TRAIN[stage]).split())
    assert f"{newest.parent} is damaged" in said
    assert "resuming after step 2 from" in said
    assert result(root, stage) == undisturbed(stage)


@pytest.mark.faults
def test_with_every_checkpoint_damaged_it_stops_and_touches_nothing(quantart: Quantart, fresh: Fresh) -> None:
    stage = "stage1_base"
    root = fresh(stage)
    assert quantart(root, *TRAIN[stage], inject=killed_after(6)).code == KILLED
    folder = root / ".quantart" / "checkpoints" / stage
    for path in folder.glob("*/state.safetensors"):
        path.write_bytes(bytes(100))
    assert f"{folder} is damaged" in sentence(quantart(root, *TRAIN[stage]))
    assert steps_kept(root, stage) == [2, 4]
    shutil.rmtree(folder)
    quantart.well(root, *TRAIN[stage])


def prepare_others(quantart: Quantart, root: Path) -> None:
    """Other photographs: one less."""
    next((root / "data" / "sample" / "photos").iterdir()).unlink()
    quantart.well(root, "prepare", "--domain", "content", "--workers", "1")
    quantart.well(root, "pair")


def other_rate(quantart: Quantart, root: Path) -> None:
    set_params(root, {"stage1.base.learning_rate": 0.003, "stage2.train.learning_rate": 0.003})


@pytest.mark.faults
@pytest.mark.parametrize(
    ("stage", "change"),
    [
        ("stage1_base", other_rate),
        ("stage1_base", prepare_others),
        ("stage2_discrete", other_rate),
        ("stage2_discrete", prepare_others),
    ],
)
def test_after_a_change_it_starts_afresh_says_why_and_keeps_the_old_checkpoint(
    stage: str, change: Callable[[Quantart, Path], None], quantart: Quantart, fresh: Fresh
) -> None:
    root, expected = fresh(stage), fresh(stage)
    assert quantart(root, *TRAIN[stage], inject=killed_after(6)).code == KILLED
    for each in (root, expected):
        change(quantart, each)
    said = " ".join(quantart.well(root, *TRAIN[stage]).split())
    assert "resuming" not in said
    (aside,) = (root / ".quantart" / "checkpoints").glob(f"{stage}.before-*")
    assert aside.name in said
    assert {path.name for path in aside.glob("step-*")} == {"step-00000002", "step-00000004"}
    quantart.well(expected, *TRAIN[stage])
    assert result(root, stage) == result(expected, stage)
    assert sorted(run.info.status for run in runs_of(root, stage)) == ["FAILED", "FINISHED"]


SPOILT = """
from quantart.data.batches import PairBatches, PictureBatches
for owner in (PictureBatches, PairBatches):
    def spoil(self, step, fetch=owner.__call__):
        batch = fetch(self, step)
        spoilt = float("VALUE") if step == 4 else 1.0
        return batch._replace(content=batch.content * spoilt) if isinstance(batch, tuple) else batch * spoilt
    owner.__call__ = spoil
"""


@pytest.mark.parametrize(
    ("stage", "value"),
    [
        ("stage1_base", "nan"),
        pytest.param("stage1_base", "inf", marks=pytest.mark.faults),
        pytest.param("stage2_continuous", "nan", marks=pytest.mark.faults),
    ],
)
def test_a_loss_that_is_not_finite_stops_it_and_names_term_step_and_files(
    stage: str, value: str, quantart: Quantart, fresh: Fresh
) -> None:
    root = fresh(stage)
    said = sentence(quantart(root, *TRAIN[stage], inject=SPOILT.replace("VALUE", value)))
    found = re.search(r"step 5: not finite: (.*?); the batch was made from (.*?); .*after step 4", said)
    assert found, said
    assert {"total_loss", "grad_norm"} < set(found[1].split(", "))
    pictures = {
        f"{domain} {path.name}"
        for domain, folder in (("content", "photos"), ("style", "paintings"))
        for path in (root / "data" / "sample" / folder).iterdir()
    }
    named = set(found[2].split(", "))
    assert named <= pictures
    assert {name.split()[0] for name in named} == {"content", "style"}
    assert steps_kept(root, stage) == [2, 4]
    assert status(root, stage) == "FAILED"
    out = quantart.well(root, *TRAIN[stage])  # it was a passing fault of the machine
    assert "resuming after step 4" in out
    assert status(root, stage) == "FINISHED"


@pytest.mark.faults
def test_a_rate_far_too_high_is_found_within_an_interval(quantart: Quantart, fresh: Fresh) -> None:
    stage = "stage2_discrete"
    root = fresh(stage, {"stage2.train.learning_rate": 1e30})
    said = sentence(quantart(root, *TRAIN[stage]))
    assert re.search(r"stopped at step [12]: not finite: .*; the batch was made from .*; .*no checkpoint", said)
    assert "lower stage2.train.learning_rate or set stage2.train.grad_clip" in said
    assert steps_kept(root, stage) == []


SHORT_OF_MEMORY = """
import os, resource
from quantart.data.batches import PictureBatches
def spoil(self, step, fetch=PictureBatches.__call__):
    batch = fetch(self, step)
    if step == 4:
        now = int(open("/proc/self/statm").read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        resource.setrlimit(resource.RLIMIT_AS, (now + 2**22, now + 2**22))
    return batch
PictureBatches.__call__ = spoil
"""


def test_out_of_memory_is_a_sentence_and_it_goes_on_where_there_is_some(quantart: Quantart, fresh: Fresh) -> None:
    stage = "stage1_base"
    root = fresh(stage, {"stage1.base.batch_size": 64})
    said = sentence(quantart(root, *TRAIN[stage], inject=SHORT_OF_MEMORY))
    assert said.startswith("out of memory in a training step with stage1.base.batch_size 64 and stage1.base.crop 32")
    assert "lower stage1.base.batch_size or stage1.base.crop" in said
    assert "after step 4" in said
    assert status(root, stage) == "FAILED"
    assert "resuming after step 4" in quantart.well(root, *TRAIN[stage])
    assert status(root, stage) == "FINISHED"


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[Path]:
    """A disk of so many bytes in place of `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip("only who may mount can make a small disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def checkpoint_bytes(quantart: Quantart, fresh: Fresh, stage: str) -> int:
    root = fresh(stage)
    assert quantart(root, *TRAIN[stage], inject=killed_after(4)).code == KILLED
    folder = root / ".quantart" / "checkpoints" / stage / "step-00000002"
    return sum(path.stat().st_size for path in folder.iterdir())


@BOTH
def test_a_full_disk_leaves_the_checkpoint_before_whole_and_says_what_needed_how_much(
    stage: str, quantart: Quantart, fresh: Fresh, undisturbed: Callable[[str], dict[str, object]]
) -> None:
    root = fresh(stage)
    needs = checkpoint_bytes(quantart, fresh, stage)
    with small_disk(root / ".quantart" / "checkpoints", 5 * needs) as disk:
        ballast = disk / "ballast"
        ballast.write_bytes(bytes(int(2.4 * needs)))  # two and a half remain
        said = sentence(quantart(root, *TRAIN[stage]))
        found = re.search(
            rf"step 6 needs about ([\d.]+) MB in {disk / stage}, where ([\d.]+) MB are free; .*after step 4", said
        )
        assert found, said
        assert float(found[1]) == pytest.approx(needs / 1e6, rel=0.1)
        assert 0 < float(found[2]) < float(found[1])
        assert steps_kept(root, stage) == [2, 4]
        assert not list((disk / stage).glob(".*")), "what was half written takes room"
        assert status(root, stage) == "FAILED"
        ballast.unlink()
        assert "resuming after step 4" in quantart.well(root, *TRAIN[stage])
        assert result(root, stage) == undisturbed(stage)


FILL = """
from quantart.data.batches import PictureBatches
def fill(self, step, fetch=PictureBatches.__call__):
    if step == 5:
        with open("ballast", "wb", buffering=0) as ballast:
            try:
                while True:
                    ballast.write(bytes(4096))
            except OSError:
                pass
    return fetch(self, step)
PictureBatches.__call__ = fill
"""


@pytest.mark.faults
def test_a_project_whose_whole_disk_is_full_ends_with_a_sentence_and_goes_on_later(
    quantart: Quantart, fresh: Fresh, undisturbed: Callable[[str], dict[str, object]], tmp_path: Path
) -> None:
    stage = "stage1_base"
    template = fresh(stage)
    with small_disk(tmp_path / "small", 100_000_000) as disk:
        root = copy_project(template, disk / "project")
        said = sentence(quantart(root, *TRAIN[stage], inject=FILL))
        assert "make room" in said
        assert steps_kept(root, stage) == [2, 4]
        (root / "ballast").unlink()
        assert "resuming after step 4" in quantart.well(root, *TRAIN[stage])
        assert result(root, stage) == undisturbed(stage)
