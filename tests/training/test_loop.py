"""The training loop, with both real objectives in small on real pictures."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from quantart.components.codebook import EmaCodebook
from quantart.components.discriminator import NLayerDiscriminator
from quantart.data.batches import CodeBatch, PairBatch, Schedule
from quantart.errors import StoppedBySignal, UserError
from quantart.images.arrays import crop_to_aspect, resize_short_side, to_tensor
from quantart.images.decode import read_image
from quantart.losses.lpips import LPIPS
from quantart.losses.painting import PaintingLoss
from quantart.losses.reference import ReferenceLoss
from quantart.losses.stage_1 import Stage1Loss
from quantart.models.stage_1 import ExperimentStage1
from quantart.models.stage_2 import ExperimentStage2
from quantart.params.training import TrainingParams
from quantart.training.checkpoint import Checkpoints
from quantart.training.loop import TrainingTask, learning_rate, moving_average, train
from quantart.training.painting_objective import PaintingObjective
from quantart.training.reference_objective import ReferenceObjective
from quantart.training.stage1_objective import Stage1Objective
from quantart.vocabulary.names import Variant
from quantart.vocabulary.painting import PAINTING_WEIGHTS

from ..models.networks import PAINTER

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "data" / "sample"
SIDE, BATCH, N_EMBED, EMBED_DIM = 32, 2, 16, 8
TINY = PAINTER | {"dropout": 0.2}
PARAMS = TrainingParams(
    steps=8,
    batch_size=BATCH,
    crop=SIDE,
    learning_rate=1e-3,
    betas=[0.9, 0.95],
    weight_ema=0.9,
    log_every=2,
    validate_every=4,
    checkpoint_every=4,
)
CLOCKS = {"train/images_per_second", "train/data_wait_share"}  # the only values that differ from run to run


class Recorder:
    """Keeps what the loop reports."""

    def __init__(self) -> None:
        self.values: dict[int, dict[str, float]] = {}
        self.images: dict[int, dict[str, np.ndarray]] = {}

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        self.values.setdefault(step, {}).update(values)

    def image(self, key: str, array: np.ndarray, step: int) -> None:
        self.images.setdefault(step, {})[key] = array

    def repeatable(self) -> dict[int, dict[str, float]]:
        return {
            step: {name: value for name, value in values.items() if name not in CLOCKS}
            for step, values in self.values.items()
        }


@pytest.fixture(scope="module")
def accelerator() -> Accelerator:
    return Accelerator(cpu=True, mixed_precision="no")


@pytest.fixture(scope="module")
def pictures() -> dict[str, Tensor]:
    """Six photographs and six paintings, float `(6, 3, 32, 32)` in [-1, 1]."""
    return {
        domain: to_tensor(
            [
                resize_short_side(crop_to_aspect(read_image(path, max_pixels=10**8), 1.0), SIDE)
                for path in sorted(folder.glob("*.jpg"))[:6]
            ]
        )
        for domain, folder in (("content", SAMPLE / "photos"), ("style", SAMPLE / "paintings"))
    }


@pytest.fixture(scope="module")
def perceptual() -> LPIPS:
    return LPIPS("squeezenet1_1")


def validate(model: nn.Module, done: int) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """A figure that shows which weights were validated, and whether dropout was off."""
    weights = torch.cat([p.flatten() for p in model.parameters()])
    figures = {"weights": float(weights.double().sum()), "training": float(model.training)}
    return figures, {"grid": np.zeros((2, 2, 3), np.uint8)}


def vqgan(seed: int) -> ExperimentStage1:
    torch.manual_seed(seed)
    return ExperimentStage1(TINY, N_EMBED, EMBED_DIM, legacy=False)


def stage1_task(pictures: dict[str, Tensor], perceptual: LPIPS) -> TrainingTask:
    """Stage 1: k-means at step 2, then moving averages; the discriminator from step 3; dropout."""
    model = vqgan(seed=0)
    loss = Stage1Loss(NLayerDiscriminator(3, 4, 1), perceptual, perceptual_weight=0.1, discriminator_start=3)
    codebook = EmaCodebook(model.quantize, decay=0.9, revive_below=0.5, seed=0)
    objective = Stage1Objective(model, loss, quantize_from=2, codebook=codebook)
    schedule = Schedule(6, BATCH, seed=0, stream=0)
    return TrainingTask(
        "stage 1",
        section="stage1.base",
        resolution=SIDE,
        objective=objective,
        batch=lambda k: pictures["style"][schedule.indices(k)],
        files=lambda k: [f"style {row}.jpg" for row in schedule.indices(k)],
        validate=validate,
    )


def stage2_task(pictures: dict[str, Tensor], variant: Variant) -> TrainingTask:
    """Stage 2 on the codes or latents of two VQGANs; the discriminator from step 3."""
    networks = {"content": vqgan(seed=0).eval(), "style": vqgan(seed=1).eval()}
    torch.manual_seed(2)
    model = ExperimentStage2.from_stage1(networks["content"], networks["style"], variant=variant, block_num=1)
    inputs = []
    for stream, (domain, network) in enumerate(networks.items()):
        with torch.no_grad():
            latents = network.latents(pictures[domain])
        encoded = network.quantize.nearest(latents) if variant == "discrete" else latents
        inputs.append((encoded, Schedule(6, BATCH, seed=0, stream=stream)))

    def batch(k: int) -> CodeBatch:
        return CodeBatch(*(encoded[schedule.indices(k)] for encoded, schedule in inputs))

    loss = ReferenceLoss(NLayerDiscriminator(EMBED_DIM, 4, 0), discriminator_start=3)
    return TrainingTask(
        f"stage 2, {variant}",
        section="stage2.train",
        resolution=SIDE,
        objective=ReferenceObjective(model, loss),
        batch=batch,
        files=lambda k: [f"row {row}" for _, schedule in inputs for row in schedule.indices(k)],
        validate=validate,
    )


def painting_task(pictures: dict[str, Tensor]) -> TrainingTask:
    """Stage 2 on pictures of twice the size, with new noise in each step; quantised from step 3 on."""
    torch.manual_seed(2)
    size = {"width": 8, "coarse_blocks": 2, "fine_blocks": 1}
    model = ExperimentStage2.from_stage1(vqgan(seed=0), vqgan(seed=1), transfer_network="twin", **size)
    loss = PaintingLoss(PAINTING_WEIGHTS)
    objective = PaintingObjective(model, loss, quantize_from=3)
    schedules = [Schedule(6, BATCH, seed=0, stream=stream) for stream in range(2)]

    def batch(k: int) -> PairBatch:
        pairs = zip(pictures.values(), schedules, strict=True)
        return PairBatch(*(F.interpolate(each[schedule.indices(k)], scale_factor=2) for each, schedule in pairs))

    return TrainingTask(
        "stage 2, discrete",
        section="stage2.train",
        resolution=SIDE,
        objective=objective,
        batch=batch,
        files=lambda k: [f"row {row}" for schedule in schedules for row in schedule.indices(k)],
        validate=validate,
    )


MakeTask = Callable[[], TrainingTask]


@pytest.fixture
def stage1(pictures: dict[str, Tensor], perceptual: LPIPS) -> MakeTask:
    return lambda: stage1_task(pictures, perceptual)


@pytest.fixture(params=["discrete", "continuous"])
def stage2(request: pytest.FixtureRequest, pictures: dict[str, Tensor]) -> MakeTask:
    return lambda: stage2_task(pictures, request.param)


@pytest.fixture(params=["stage1", "discrete", "continuous", "painting"])
def make_task(request: pytest.FixtureRequest, pictures: dict[str, Tensor], perceptual: LPIPS) -> MakeTask:
    """Makes the task anew each time, as a new process would."""
    if request.param == "stage1":
        return lambda: stage1_task(pictures, perceptual)
    if request.param == "painting":
        return lambda: painting_task(pictures)
    return lambda: stage2_task(pictures, request.param)


class Runs:
    """Starts training runs, all with one folder of checkpoints."""

    def __init__(self, accelerator: Accelerator, folder: Path) -> None:
        self.accelerator = accelerator
        self.checkpoints = Checkpoints(folder, "fingerprint")

    def __call__(self, task: TrainingTask, logger: Recorder | None = None, **changes: Any) -> dict[str, Tensor]:
        """The state of the model that training returns."""
        params = TrainingParams.model_validate({**PARAMS.model_dump(), **changes})
        self.checkpoints.prepare()
        model = train(
            task,
            params,
            seed=0,
            accelerator=self.accelerator,
            checkpoints=self.checkpoints,
            logger=logger or Recorder(),
        )
        return model.state_dict()

    def fresh(self, task: TrainingTask, logger: Recorder | None = None, **changes: Any) -> dict[str, Tensor]:
        """The same, with nothing to resume from and nothing left."""
        self.checkpoints.clear()
        state = self(task, logger, **changes)
        self.checkpoints.clear()
        return state


@pytest.fixture
def run(accelerator: Accelerator, tmp_path: Path) -> Runs:
    return Runs(accelerator, tmp_path / "checkpoints")


def before_step(task: TrainingTask, step: int, act: Callable[[], None]) -> TrainingTask:
    """`task`, with something that happens while the batch of `step` (counted from 0) is fetched."""

    def batch(k: int) -> Any:
        if k == step:
            act()
        return task.batch(k)

    return replace(task, batch=batch)


def assert_same(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert torch.equal(value, other[name]), name


def furthest(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    return max(float((value - other[name]).abs().max()) for name, value in one.items())


@pytest.mark.parametrize("stopped_after", [1, 2, 5, 8])
def test_stopped_by_a_signal_and_resumed_it_ends_as_if_undisturbed(
    make_task: MakeTask, run: Runs, stopped_after: int
) -> None:
    undisturbed, logger = Recorder(), Recorder()
    expected = run.fresh(make_task(), undisturbed)

    stop = before_step(make_task(), stopped_after - 1, lambda: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(StoppedBySignal, match=f"a checkpoint was written after step {stopped_after};"):
        run(stop, logger)
    assert run.checkpoints.last_step() == stopped_after
    resumed = run(make_task(), logger)

    assert_same(resumed, expected)
    assert logger.repeatable() == undisturbed.repeatable()


@pytest.mark.parametrize("stopped_after", [1, 5])
def test_muon_resumes_to_the_bit(make_task: MakeTask, run: Runs, stopped_after: int) -> None:
    muon = {"optimizer": "muon", "muon_learning_rate": 0.02}
    expected = run.fresh(make_task(), **muon)
    stop = before_step(make_task(), stopped_after - 1, lambda: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(StoppedBySignal):
        run(stop, **muon)
    assert_same(run(make_task(), **muon), expected)
    assert furthest(run.fresh(make_task()), expected) > 1e-3  # not Adam's


def test_after_a_crash_it_resumes_at_the_last_checkpoint_and_ends_the_same(make_task: MakeTask, run: Runs) -> None:
    undisturbed, logger = Recorder(), Recorder()
    expected = run.fresh(make_task(), undisturbed)

    def crash() -> None:
        raise ConnectionError

    with pytest.raises(ConnectionError):
        run(before_step(make_task(), 7, crash), logger)
    assert run.checkpoints.last_step() == 4
    assert_same(run(make_task(), logger), expected)
    assert logger.repeatable() == undisturbed.repeatable()


def test_every_term_is_logged_each_interval(stage1: MakeTask, run: Runs) -> None:
    logger = Recorder()
    run.fresh(stage1(), logger, steps=7)
    assert list(logger.values) == [2, 4, 6, 7]
    always = {
        "total_loss",
        "reconstruction_loss",
        "perceptual_loss",
        "nll_loss",
        "codebook_loss",
        "grad_norm",
        "learning_rate",
    } | {name.removeprefix("train/") for name in CLOCKS}
    coded = {"usage", "perplexity", "revived"}
    adversarial = {
        "adversarial_loss",
        "adversarial_weight",
        "discriminator_weight",
        "discriminator_loss",
        "logits_real",
        "logits_fake",
    }
    assert logger.values[2].keys() == {f"train/{name}" for name in always}
    full = {f"train/{name}" for name in always | coded | adversarial}
    explained = (ROOT / "docs" / "tracking.md").read_text(encoding="utf8")
    assert [name for name in full if f"`{name}`" not in explained] == []
    assert logger.values[6].keys() == full
    assert logger.values[7].keys() == full | {"val/weights", "val/training"}


def test_a_logged_value_is_the_mean_over_its_interval(stage1: MakeTask, run: Runs) -> None:
    each, pairs = Recorder(), Recorder()
    run.fresh(stage1(), each, log_every=1)
    run.fresh(stage1(), pairs, log_every=2)
    for name in ("train/reconstruction_loss", "train/grad_norm"):
        mean = (each.values[5][name] + each.values[6][name]) / 2
        assert pairs.values[6][name] == pytest.approx(mean, rel=1e-6)
    # the discriminator sets in at step 3 (counted from 0), so one of the two steps before has it
    assert pairs.values[4]["train/discriminator_loss"] == pytest.approx(
        each.values[4]["train/discriminator_loss"], rel=1e-6
    )


def test_validation_sees_the_averaged_weights_without_dropout(stage1: MakeTask, run: Runs) -> None:
    logger = Recorder()
    returned = run.fresh(stage1(), logger)
    assert list(logger.images) == [4, 8]
    assert logger.values[8]["val/training"] == 0.0
    weights = torch.cat([value.flatten() for value in returned.values()])
    assert logger.values[8]["val/weights"] == pytest.approx(float(weights.double().sum()), rel=1e-12)


def test_validation_changes_nothing(make_task: MakeTask, run: Runs) -> None:
    assert_same(run.fresh(make_task(), validate_every=1), run.fresh(make_task(), validate_every=8))


def test_statistics_are_averaged_with_the_weights_and_what_counts_is_taken_as_it_is() -> None:
    norm = nn.BatchNorm2d(2)
    averaged = AveragedModel(norm, multi_avg_fn=moving_average(0.75), use_buffers=True)
    for _ in range(2):
        norm(torch.randn(4, 2, 3, 3) + 5.0)
        before = averaged.module.running_mean.clone() if averaged.n_averaged else norm.running_mean
        averaged.update_parameters(norm)
        torch.testing.assert_close(averaged.module.running_mean, 0.75 * before + 0.25 * norm.running_mean)
    assert averaged.module.num_batches_tracked == norm.num_batches_tracked == 2


def test_the_averaged_weights_are_what_the_decay_makes_of_the_weights_of_each_step(stage1: MakeTask, run: Runs) -> None:
    constant = {"schedule": "constant", "log_every": 1, "checkpoint_every": 1}
    first, second = (run.fresh(stage1(), steps=steps, weight_ema=0.0, **constant) for steps in (1, 2))
    averaged = run.fresh(stage1(), steps=2, weight_ema=0.75, **constant)
    assert furthest(averaged, second) > 1e-4
    for name, value in averaged.items():
        torch.testing.assert_close(value, 0.75 * first[name] + 0.25 * second[name], rtol=1e-5, atol=1e-7)


def test_a_network_given_in_eval_mode_is_trained_with_dropout_too(stage1: MakeTask, run: Runs) -> None:
    opened = stage1()
    opened.objective.model.eval()  # as `from_pretrained` gives it
    assert_same(run.fresh(opened), run.fresh(stage1()))


def test_stage_2_leaves_the_two_vqgans_as_they_are(stage2: MakeTask, run: Runs) -> None:
    before = {name: value.clone() for name, value in stage2().objective.model.state_dict().items()}
    after = run.fresh(stage2())
    changed = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert changed
    assert all(name.startswith("model_x2y.") for name in changed)


def test_the_discriminator_learns_at_its_own_rate(stage1: MakeTask, run: Runs) -> None:
    task = stage1()
    task.objective.learning_rate_factor = 0.1
    discriminator = task.objective.loss.discriminator
    assert discriminator is not None
    before = discriminator.main[0].weight.detach().clone()
    run.fresh(task, steps=4, schedule="constant")
    # its only step is the fourth, and Adam's first step is as long as the rate
    assert float((discriminator.main[0].weight.detach() - before).abs().max()) == pytest.approx(1e-4, rel=1e-3)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_stops_training_at_the_last_good_checkpoint(
    stage1: MakeTask, run: Runs, value: float
) -> None:
    task, logger = stage1(), Recorder()
    spoilt = replace(task, batch=lambda k: task.batch(k) * (value if k == 4 else 1.0))
    with pytest.raises(UserError) as caught:
        run(spoilt, logger)
    # the batch of the fifth step is bad; two steps make an interval
    first, second = task.files(4)
    for each in ("step 5", "grad_norm", "reconstruction_loss", f"{first}, {second}"):
        assert each in caught.value.fault
    for each in ("step 4", "stage1.base.learning_rate", "stage1.base.grad_clip"):
        assert each in caught.value.remedy
    assert max(logger.values) == 4
    assert run.checkpoints.last_step() == 4
    assert_same(run(stage1()), run.fresh(stage1()))


def test_weights_that_are_not_finite_become_no_checkpoint(stage1: MakeTask, run: Runs) -> None:
    task = stage1()
    assert task.objective.loss.discriminator is not None
    weight = task.objective.loss.discriminator.main[0].weight
    # before the discriminator sets in, no loss tells of it
    spoilt = before_step(task, 1, lambda: weight.data.fill_(float("nan")))
    with pytest.raises(UserError, match=r"stopped at step 2: not finite, though the losses were: .*discriminator"):
        run(spoilt, log_every=1, checkpoint_every=1)
    assert run.checkpoints.last_step() == 1
    assert_same(run(stage1(), log_every=1, checkpoint_every=1), run.fresh(stage1()))


OUT_OF_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nMore."),
    RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried"),
    RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    MemoryError(),
]


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=lambda error: type(error).__name__)
def test_out_of_memory_says_which_parameters_to_lower(stage1: MakeTask, run: Runs, error: Exception) -> None:
    def fail() -> None:
        raise error

    with pytest.raises(UserError) as caught:
        run(before_step(stage1(), 6, fail))
    asked = str(error).partition("\n")[0] or "MemoryError"
    for each in ("stage1.base.batch_size 2", "stage1.base.crop 32", asked):
        assert each in caught.value.fault
    for each in ("stage1.base.batch_size", "stage1.base.crop", "step 4"):
        assert each in caught.value.remedy
    assert_same(run(stage1()), run.fresh(stage1()))


def test_out_of_memory_in_the_validation_names_its_own_parameter(stage1: MakeTask, run: Runs) -> None:
    def greedy(model: nn.Module, done: int) -> Any:
        raise OUT_OF_MEMORY[1]

    with pytest.raises(UserError, match="validation after step 4 with data.resolution 32"):
        run(replace(stage1(), validate=greedy))


def test_other_errors_are_raised_unchanged(stage1: MakeTask, run: Runs) -> None:
    def fail() -> None:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="mat1"):
        run(before_step(stage1(), 1, fail))


def test_the_rate_falls_along_half_a_cosine_to_zero(stage1: MakeTask, run: Runs) -> None:
    rates = [learning_rate(PARAMS, step) for step in (0, 2, 4, 6, 8)]
    np.testing.assert_allclose(rates, [1e-3, 0.85355339e-3, 0.5e-3, 0.14644661e-3, 0.0], atol=1e-12)
    constant = PARAMS.model_copy(update={"schedule": "constant"})
    assert {learning_rate(constant, step) for step in range(9)} == {1e-3}

    logger = Recorder()
    run.fresh(stage1(), logger)
    assert logger.values[4]["train/learning_rate"] == learning_rate(PARAMS, 3)
