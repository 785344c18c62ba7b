"""The training loop of both stages: flat, read top-down.

    for each step: batch -> generator's phase -> discriminator's phase -> averaged weights
    now and then: log, validate, checkpoint

All randomness is a function of (seed, step), so a resumed run repeats what an uninterrupted one would have done.
The loop knows nothing of experiment tracking: it hands numbers and pictures to a `Logger`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import nn

from quantart.errors import UserError
from quantart.machine.progress import TrainingBar
from quantart.training.checkpoint import Checkpoints, TrainingState
from quantart.training.means import Means
from quantart.training.step import AdversarialStep
from quantart.training.stopping import Interrupt, memory_advice
from quantart.training.update import Update, learning_rate

if TYPE_CHECKING:
    from quantart.params.training import TrainingParams

Pictures = Mapping[str, np.ndarray]


class Logger(Protocol):
    def metrics(self, values: Mapping[str, float], step: int) -> None: ...

    def image(self, key: str, array: np.ndarray, step: int) -> None: ...


@dataclass(frozen=True)
class Task:
    """What one training run needs besides its parameters.

    Attributes:
        section, resolution: of its parameters (e.g. `stage2.train`) and of the validation (pixels), for error messages.
        batch: `batch(step)` is this process's slice of the step's batch, on its device.
        files: `files(step)` are the pictures that this slice was made from.
        validate: `validate(model, done)` returns metrics (named `val/…`) and picture grids (uint8 `(h, w, 3)`) of a
            model in eval mode after `done` steps.
    """

    name: str
    section: str
    resolution: int
    step: AdversarialStep
    batch: Callable[[int], Any]
    files: Callable[[int], list[str]]
    validate: Callable[[Any, int], tuple[dict[str, float], Pictures]]
    discriminator_learning_rate_factor: float = 1.0


def train(
    task: Task, params: TrainingParams, *, seed: int, accelerator: Accelerator, checkpoints: Checkpoints, logger: Logger
) -> nn.Module:
    """Train `task` to its last step and return the model on the CPU, with averaged weights if they are on.

    Raises:
        UserError: a loss is not finite, memory ran out, or a checkpoint could not be written.
        StoppedBySignal: SIGTERM or SIGINT came; a checkpoint was written first.
    """
    update = Update(task.step, params, accelerator, task.discriminator_learning_rate_factor)
    totals = Means()
    state = TrainingState(update.step, update.optimizers, update.averaged, totals)
    first = checkpoints.restore(state)
    size, crop = f"{task.section}.batch_size", f"{task.section}.crop"
    doing = f"a training step with {size} {params.batch_size} and {crop} {params.crop}"
    with (
        memory_advice(doing, f"{size} or {crop}", checkpoints.advice),
        Interrupt() as interrupt,
        TrainingBar(task.name, first, params.steps, accelerator.is_main_process) as bar,
    ):
        speed = _Speed(first)
        for step in range(first, params.steps):
            torch.manual_seed(int(np.random.SeedSequence([seed, step]).generate_state(1)[0]))  # dropout
            with speed.waiting():
                batch = task.batch(step)
            update(batch, step, totals)

            done, last = step + 1, step + 1 == params.steps
            if done % params.log_every == 0 or last:
                _stop_if_not_finite(task, totals, accelerator, checkpoints)
                values = totals.take(accelerator) | {"learning_rate": learning_rate(params, step)}
                values |= speed.means(done, params.batch_size)
                speed = _Speed(done)
                logger.metrics({f"train/{name}": value for name, value in values.items()}, done)
                bar.show(done, values)
            else:
                bar.advance(done)
            if (done % params.validate_every == 0 or last) and accelerator.is_main_process:
                doing = f"the validation after step {done} with data.resolution {task.resolution}"
                with memory_advice(doing, "data.resolution", checkpoints.advice):
                    _validate(task, update.best, accelerator, logger, done)
            if _on_any(interrupt.requested, accelerator):
                interrupt.request()  # also where only another process got the signal
            if done % params.checkpoint_every == 0 or last or interrupt.requested:
                _stop_if_not_finite(task, totals, accelerator, checkpoints)
                if accelerator.is_main_process:
                    checkpoints.save(state, done)
                accelerator.wait_for_everyone()
                interrupt.stop_if_requested(done)
    return update.best.cpu()


def _on_any(flag: bool, accelerator: Accelerator) -> bool:
    """Whether `flag` is set in any process: all processes must leave the loop after the same step."""
    if accelerator.num_processes == 1:
        return flag
    return bool(accelerator.reduce(torch.tensor(float(flag), device=accelerator.device), reduction="sum") > 0)


def _validate(task: Task, model: nn.Module, accelerator: Accelerator, logger: Logger, done: int) -> None:
    was_training = model.training
    model.eval()
    with torch.inference_mode(), accelerator.autocast():
        metrics, pictures = task.validate(model, done)
    model.train(was_training)
    logger.metrics(metrics, done)
    for key, picture in pictures.items():
        logger.image(key, picture, done)


def _stop_if_not_finite(task: Task, totals: Means, accelerator: Accelerator, checkpoints: Checkpoints) -> None:
    if all(math.isfinite(value) for value in totals.peek(accelerator).values()):
        return
    own = totals.first_not_finite()
    found = gather_object([] if own is None else [(*own, task.files(own[0]))])
    step, terms, files = min(found)
    raise UserError(
        f"training stopped at step {step + 1}: not finite: {', '.join(terms)}; the batch was made from "
        f"{', '.join(dict.fromkeys(files))}",
        f"{checkpoints.advice()}; if it happens again, look at these pictures, lower {task.section}.learning_rate or "
        f"set {task.section}.grad_clip, which starts this stage afresh",
    )


class _Speed:
    """Pictures per second, and the share of the time that waits for data, from step `done` on."""

    def __init__(self, done: int) -> None:
        self._done = done
        self._began = time.perf_counter()
        self._waited = 0.0

    @contextmanager
    def waiting(self) -> Iterator[None]:
        began = time.perf_counter()
        yield
        self._waited += time.perf_counter() - began

    def means(self, done: int, batch_size: int) -> dict[str, float]:
        steps, elapsed = done - self._done, time.perf_counter() - self._began
        return {"images_per_second": steps * batch_size / elapsed, "data_wait_share": self._waited / elapsed}
