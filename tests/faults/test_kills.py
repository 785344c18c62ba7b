"""`kill -9` to real training processes: run again, they end as if nothing had been."""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from .projects import KILLED, SECTION, TRAIN, Quantart, contents, result, runs_of, steps_kept

Fresh = Callable[..., Path]
KILLS = 7  # of each stage

# Where the process kills itself. `WHEN` counts the calls, so that it happens in the middle of the training.
ITSELF = """
import os, signal
import quantart.pipeline.training as pipeline
import quantart.training.checkpoint as checkpoint
from pathlib import Path
from quantart.models.pretrained import Pretrained
from quantart.training.checkpoint import Checkpoints

def die(*arguments, **named):
    os.kill(os.getpid(), signal.SIGKILL)

def replace(owner, name, make, when=1):
    original, calls = getattr(owner, name), []
    def counted(*arguments, **named):
        calls.append(1)
        return (make(original) if len(calls) == when else original)(*arguments, **named)
    setattr(owner, name, counted)

def half(original):
    def write(tensors, path):
        original(tensors, path)
        data = Path(path).read_bytes()
        Path(path).write_bytes(data[: len(data) // 2])
        die()
    return write

def after(original):
    def act(*arguments, **named):
        original(*arguments, **named)
        die()
    return act

def before(original):
    return die
"""
MOMENTS = {
    "half of the first checkpoint written": "replace(checkpoint, 'save_file', half)",
    "half of a checkpoint written": "replace(checkpoint, 'save_file', half, when=2)",
    "a checkpoint written but not yet in its place": "replace(Path, 'rename', before)",
    "a checkpoint in its place, the old ones not yet dropped": "replace(Path, 'rename', after, when=2)",
    "metrics and pictures logged that no checkpoint has": "replace(Checkpoints, 'save', before)",
    "half of the model written": "replace(Pretrained, 'save_pretrained', after)",
    "the old model gone, the new one not yet in its place": "replace(Pretrained, 'save_pretrained', after, when=1)",
    "all done but for the checkpoints": "replace(Checkpoints, 'clear', before)",
}


def kill_itself(moment: str) -> str:
    return ITSELF + MOMENTS[moment]


@pytest.mark.parametrize("stage", ["stage1_base", pytest.param("stage2_discrete", marks=pytest.mark.faults)])
def test_killed_at_every_delicate_moment_it_ends_as_if_nothing_had_been(
    stage: str, quantart: Quantart, fresh: Fresh
) -> None:
    undisturbed, killed = fresh(stage), fresh(stage)
    quantart.well(undisturbed, *TRAIN[stage])
    for moment in MOMENTS:
        ended = quantart(killed, *TRAIN[stage], inject=kill_itself(moment))
        assert ended.code == KILLED, f"{moment}: {ended.out}"
    assert "resuming after step 8" in quantart.well(killed, *TRAIN[stage])
    assert result(killed, stage) == result(undisturbed, stage)
    assert [run.info.status for run in runs_of(killed, stage)] == ["FINISHED"]


@pytest.mark.faults
@pytest.mark.parametrize("stage", ["stage1_base", "stage1_content", "stage2_discrete"])
def test_killed_at_random_moments_it_ends_as_if_nothing_had_been(
    stage: str, quantart: Quantart, fresh: Fresh, tmp_path: Path
) -> None:
    longer = {f"{SECTION[stage]}.steps": 40}
    undisturbed = fresh(stage, longer)
    began = time.monotonic()
    quantart.well(undisturbed, *TRAIN[stage])
    lasts = time.monotonic() - began
    expected = result(undisturbed, stage)

    draw = random.Random(0)
    kills, at_steps = 0, []
    while kills < KILLS:
        killed = fresh(stage, longer)
        while True:
            command = quantart.start(killed, *TRAIN[stage])
            time.sleep(draw.uniform(0.0, 0.7 * lasts))
            command.send(9)
            ended = command.end()
            if ended.code == 0:  # it was quicker
                break
            assert ended.code == KILLED, ended.out
            kills += 1
            at_steps.append(max(steps_kept(killed, stage), default=0))
            if kills >= KILLS:
                quantart.well(killed, *TRAIN[stage])
                break
        assert result(killed, stage) == expected
        shutil.rmtree(killed)
    print(f"{stage}: {kills} kills, with the last checkpoint at steps {at_steps}")


@pytest.mark.faults
def test_codes_made_with_networks_that_were_killed_are_the_same_too(quantart: Quantart, fresh: Fresh) -> None:
    projects = [fresh("stage1_content"), fresh("stage1_content")]
    assert quantart(projects[0], *TRAIN["stage1_content"], inject=kill_itself("half of a checkpoint written")).code == (
        KILLED
    )
    for root in projects:
        quantart.well(root, *TRAIN["stage1_content"])
        quantart.well(root, "encode", "--domain", "content")
    codes = [contents(root / "data" / "codes" / "content") for root in projects]
    assert codes[0]
    assert codes[0] == codes[1]
