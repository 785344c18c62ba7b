"""The training loop of both stages: flat, read top-down.

    for each step: batch -> update of the model -> update of a discriminator, if any -> averaged weights
    now and then: log, validate, checkpoint

All randomness is a function of (seed, step), so a resumed run repeats what an uninterrupted one would have done.
The loop knows nothing of experiment tracking: it hands numbers and pictures to a `Logger`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from quantart.errors import UserError
from quantart.machine.interrupt import Interrupt
from quantart.machine.progress import TrainingBar
from quantart.training.checkpoint import Checkpoints, TrainingState
from quantart.training.machines import patience
from quantart.training.means import Means
from quantart.training.muon import Muon, inner_weights
from quantart.training.objective import AdversarialObjective, Objective
from quantart.training.stopping import memory_advice

if TYPE_CHECKING:
    from quantart.params.training import TrainingParams

LATE = "no step ended for a minute: one of the processes validates, is slow or has stopped"
Pictures = Mapping[str, np.ndarray]


class Logger(Protocol):
    def metrics(self, values: Mapping[str, float], step: int) -> None: ...

    def image(self, key: str, array: np.ndarray, step: int) -> None: ...


Tensors = list[Tensor] | tuple[Tensor, ...]


@dataclass(frozen=True)
class TrainingTask:
    """What is trained, and on what; how is said by `TrainingParams`.

    Attributes:
        section, resolution: of its parameters (e.g. `stage2.train`) and of the validation (pixels), for error messages.
        batch: `batch(step)` is this process's slice of the step's batch, on its device.
        files: `files(step)` are the pictures that this slice was made from.
        validate: `validate(model, done)` returns metrics and picture grids (uint8 `(h, w, 3)`) of a model in eval mode
            after `done` steps; they are logged as `val/…`.
    """

    name: str
    section: str
    resolution: int
    objective: Objective
    batch: Callable[[int], Any]
    files: Callable[[int], list[str]]
    validate: Callable[[Any, int], tuple[dict[str, float], Pictures]]


def train(
    task: TrainingTask,
    training: TrainingParams,
    *,
    seed: int,
    accelerator: Accelerator,
    checkpoints: Checkpoints,
    logger: Logger,
) -> nn.Module:
    """Train `task` to its last step and return the model on the CPU, with averaged weights if they are on.

    Raises:
        UserError: a loss is not finite, memory ran out, or a checkpoint could not be written.
        StoppedBySignal: SIGTERM or SIGINT came; a checkpoint was written first.
    """
    update = Update(task.objective, training, accelerator)
    first = checkpoints.restore(update.state)
    with (
        _advice(task, training, checkpoints),
        Interrupt() as interrupt,
        TrainingBar(task.name, first, training.steps, accelerator.is_main_process) as bar,
        patience(LATE, 60.0 if accelerator.num_processes > 1 else None) as stepped,
    ):
        speed = _Speed(first)
        for step in range(first, training.steps):
            torch.manual_seed(int(np.random.SeedSequence([seed, step]).generate_state(1)[0]))  # dropout
            with speed.waiting():
                batch = task.batch(step)
            update(batch, step)
            done, last = step + 1, step + 1 == training.steps
            if done % training.log_every == 0 or last:
                _stop_if_not_finite(task, update.means, accelerator, checkpoints)
                # Muon's convolutions have `muon_learning_rate` on the same schedule
                values = update.means.take(accelerator) | {"learning_rate": learning_rate(training, step)}
                values |= speed.figures(done, training.batch_size)
                speed = _Speed(done)
                logger.metrics({f"train/{name}": value for name, value in values.items()}, done)
                bar.show(done, values)
            else:
                bar.advance(done)
            if (done % training.validate_every == 0 or last) and accelerator.is_main_process:
                _validate(task, update.final, accelerator, checkpoints, logger, done)
            _request_in_all(interrupt, accelerator)
            stepped()
            if done % training.checkpoint_every == 0 or last or interrupt.requested:
                _stop_if_not_finite(task, update.means, accelerator, checkpoints)
                if accelerator.is_main_process:
                    checkpoints.save(update.state, done)
                accelerator.wait_for_everyone()
                again = "run the same command again to resume from it"
                interrupt.stop_if_requested(f"a checkpoint was written after step {done}; {again}")
    return update.final.cpu()


class Update:
    """One step's update of the weights, on the accelerator's device together with its other processes.

    The model has one optimiser, or two with Muon, and a discriminator has its own. `means` are of the values to log,
    `state` is all of it that a checkpoint keeps.
    """

    def __init__(self, objective: Objective, training: TrainingParams, accelerator: Accelerator) -> None:
        self._training = training
        self._accelerator = accelerator
        self._objective = objective.to(accelerator.device).train()
        self._averaged: AveragedModel | None = None
        if training.weight_ema:
            average = moving_average(training.weight_ema)
            self._averaged = AveragedModel(objective.model, multi_avg_fn=average, use_buffers=True)
        self._trained = objective.trained_parameters()
        self._optimizers = _optimizers(objective, training)
        self._adversary: dict[str, torch.optim.Optimizer] = {}
        if isinstance(objective, AdversarialObjective) and (weights := objective.discriminator_parameters()):
            self._adversary = {"discriminator": _adam(weights, training, objective.learning_rate_factor)}
        self.means = Means()
        self.state = TrainingState(objective, self._optimizers | self._adversary, self._averaged, self.means)
        self._wrapped = accelerator.prepare_model(objective, device_placement=False)

    def __call__(self, batch: Any, step: int) -> None:
        """Update the weights from a batch, and note the values to log."""
        output = self._wrapped(batch, step)
        self._accelerator.backward(output.loss)
        limit = self._training.grad_clip or math.inf
        self.means.add({"grad_norm": nn.utils.clip_grad_norm_(self._trained, limit)}, step)
        self._descend(self._optimizers, step)
        self.means.add(output.logs, step)
        if isinstance(self._objective, AdversarialObjective) and self._objective.discriminator_runs(step):
            output = self._wrapped(batch, step, "discriminator")
            self._accelerator.backward(output.loss)
            self._descend(self._adversary, step)
            self.means.add(output.logs, step)
        if self._averaged is not None:
            self._averaged.update_parameters(self._objective.model)

    def _descend(self, optimizers: Mapping[str, torch.optim.Optimizer], step: int) -> None:
        """Set each group's rate, which is `factor` times the `learning_rate` of the step, and update its weights."""
        for optimizer in optimizers.values():
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(self._training, step) * group["factor"]
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    @property
    def final(self) -> nn.Module:
        """The model that is validated and saved: with averaged weights if they are on, else as trained."""
        return self._objective.model if self._averaged is None else self._averaged.module


def learning_rate(training: TrainingParams, step: int) -> float:
    """Rate at `step`, from 0: constant, or half a cosine from the full rate down to zero at `training.steps`."""
    if training.schedule == "constant":
        return training.learning_rate
    return training.learning_rate * 0.5 * (1.0 + math.cos(math.pi * step / training.steps))


def _optimizers(objective: Objective, training: TrainingParams) -> dict[str, torch.optim.Optimizer]:
    """Adam for what is trained of the model, or Muon for its inner convolutions and Adam for the rest.

    Their names are those in checkpoints, `generator` also where there is no discriminator. `Update` sets the rates,
    from each group's `factor`.
    """
    trained = objective.trained_parameters()
    if training.optimizer == "adam":
        return {"generator": _adam(trained, training)}
    inner = inner_weights(objective.model)
    rest = [parameter for parameter in trained if all(parameter is not weight for weight in inner)]
    # times the scheduled `learning_rate`, which cancels: what is left is `muon_learning_rate` on that schedule
    group = {"params": inner, "factor": training.muon_learning_rate / training.learning_rate}
    return {"generator": _adam(rest, training), "muon": Muon([group], training.weight_decay)}


def _adam(parameters: list[nn.Parameter], training: TrainingParams, factor: float = 1.0) -> torch.optim.Optimizer:
    """Adam, or AdamW with weight decay, at `factor` times the learning rate, which `Update` sets."""
    kind = torch.optim.AdamW if training.weight_decay else torch.optim.Adam
    betas = (training.betas[0], training.betas[1])
    group = {"params": parameters, "factor": factor}
    return kind([group], betas=betas, weight_decay=training.weight_decay, fused=True)


def _advice(task: TrainingTask, training: TrainingParams, checkpoints: Checkpoints) -> AbstractContextManager[None]:
    """Where memory runs out in a step, say which parameters to lower."""
    size, crop = f"{task.section}.batch_size", f"{task.section}.crop"
    doing = f"a training step with {size} {training.batch_size} and {crop} {training.crop}"
    return memory_advice(doing, f"{size} or {crop}", checkpoints.advice)


def _request_in_all(interrupt: Interrupt, accelerator: Accelerator) -> None:
    """Request in all processes what any got a signal for: all must leave the loop after the same step."""
    if accelerator.num_processes > 1:
        flag = torch.tensor(float(interrupt.requested), device=accelerator.device)
        if accelerator.reduce(flag, reduction="sum") > 0:
            interrupt.request()


def _validate(
    task: TrainingTask,
    model: nn.Module,
    accelerator: Accelerator,
    checkpoints: Checkpoints,
    logger: Logger,
    done: int,
) -> None:
    was_training = model.training
    model.eval()
    doing = f"the validation after step {done} with data.resolution {task.resolution}"
    advice = memory_advice(doing, "data.resolution", checkpoints.advice)
    with advice, torch.inference_mode(), accelerator.autocast():
        metrics, pictures = task.validate(model, done)
    model.train(was_training)
    logger.metrics({f"val/{name}": value for name, value in metrics.items()}, done)
    for name, picture in pictures.items():
        logger.image(f"val/{name}", picture, done)


def _stop_if_not_finite(task: TrainingTask, means: Means, accelerator: Accelerator, checkpoints: Checkpoints) -> None:
    if all(math.isfinite(value) for value in means.synchronise(accelerator).values()):
        return
    own = means.first_not_finite()
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

    def figures(self, done: int, batch_size: int) -> dict[str, float]:
        steps, elapsed = done - self._done, time.perf_counter() - self._began
        return {"images_per_second": steps * batch_size / elapsed, "data_wait_share": self._waited / elapsed}


def moving_average(decay: float) -> Callable[[Tensors, Tensors, Tensor | int], None]:
    """Of weights, and of the statistics that go with them; whole numbers count something and are taken as they are."""
    moving = get_ema_multi_avg_fn(decay)

    def average(averaged: Tensors, current: Tensors, n: Tensor | int) -> None:
        if averaged[0].is_floating_point():
            moving(averaged, current, n)
        else:
            for old, new in zip(averaged, current, strict=True):
                old.copy_(new)

    return average
