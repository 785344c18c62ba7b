"""What `torchrun` runs in test_processes.py: stages of a project, one after another in the same processes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from safetensors.torch import save_file

from quantart.pipeline import encode, stage1, stage2, training
from quantart.project import Project
from quantart.training.checkpoint import Checkpoints
from quantart.training.loop import TrainingTask, train


def run(project: Project, seen: Path) -> None:
    """The later stages first, so that each stands on what is there already.

    Args:
        seen: folder for each process's final state (`<task>-<rank>.safetensors`) and its number of checkpoints.
    """

    def watched(
        task: TrainingTask, *args: Any, accelerator: Accelerator, checkpoints: Checkpoints, **kwargs: Any
    ) -> Any:
        model = train(task, *args, accelerator=accelerator, checkpoints=checkpoints, **kwargs)
        place = seen / f"{task.name}-{accelerator.process_index}"
        state = {key: value.contiguous() for key, value in task.objective.state_dict().items()}
        save_file(state, place.with_suffix(".safetensors"))
        return model

    saved: list[int] = []
    save = Checkpoints.save

    def counted(self: Checkpoints, state: Any, step: int) -> None:
        saved.append(step)
        save(self, state, step)

    training.train = watched
    Checkpoints.save = counted  # type: ignore[method-assign]
    Accelerator.end_training = lambda self: None  # type: ignore[method-assign]  # the processes go on to the next stage
    stage2.run(project, "discrete")
    encode.run(project, "content")
    stage1.run(project, "content")
    stage1.run(project, "base")
    rank = Accelerator().process_index
    (seen / f"checkpoints-{rank}").write_text(" ".join(map(str, saved)))


if __name__ == "__main__":
    run(Project(Path(sys.argv[1])), Path(sys.argv[2]))
