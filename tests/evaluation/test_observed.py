from functools import partial

import numpy as np
import pytest
import torch

from quantart.evaluation import methods
from quantart.evaluation.observed import Observed, PairRenderer, Perception, RecentlyUsed, observe
from quantart.evaluation.task import TransferTask
from quantart.images.arrays import pixels_to_float
from quantart.models.alpha_beta import Fidelity
from quantart.models.fidelity import FidelityControl
from quantart.models.stage_2 import ExperimentStage2
from quantart.vocabulary.methods import ADAIN, BASELINES, CONTENT_DECODED, COPIED_CONTENT, COPIED_STYLE, MODEL

discrete = pytest.mark.parametrize("variant", ["discrete"], indirect=True)
NUMBERS = [0, 3, 1]


@torch.inference_mode()
def rendered(render: PairRenderer, numbers: list[int]) -> dict[str, Observed]:
    return dict(render(numbers, *render.originals(numbers)))


@discrete
def test_the_originals_are_the_photographs_and_paintings_of_the_pairs(
    model: ExperimentStage2, task: TransferTask, perception: Perception
) -> None:
    with torch.inference_mode():
        content, style = PairRenderer(model, task, perception, 4).originals(NUMBERS)
    contents, styles = zip(*(task.pairs[number] for number in NUMBERS), strict=True)
    assert torch.equal(content.pictures, pixels_to_float(task.contents.centre(list(contents), 32)))
    assert torch.equal(style.pictures, pixels_to_float(task.styles.centre(list(styles), 32)))


@discrete
def test_painters_take_the_models_place_and_extras_follow_the_baselines(
    model: ExperimentStage2, task: TransferTask, perception: Perception
) -> None:
    control = FidelityControl.of(model)
    painters = {f"b{beta}": partial(methods.mixed, control, Fidelity(1.0, beta)) for beta in (0.0, 1.0)}
    plain = rendered(PairRenderer(model, task, perception, 4), NUMBERS)
    assert list(plain) == [MODEL, *BASELINES]
    found = rendered(PairRenderer(model, task, perception, 4, painters, {"again": painters["b1.0"]}), NUMBERS)
    assert list(found) == ["b0.0", "b1.0", *BASELINES, "again"]
    same = {"b1.0": MODEL, "again": MODEL, "b0.0": CONTENT_DECODED, ADAIN: ADAIN}
    for method, expected in same.items():
        torch.testing.assert_close(found[method].pictures, plain[expected].pictures, atol=1e-4, rtol=0)


@discrete
def test_painted_pairs_are_the_rendered_ones_by_number_and_method(
    model: ExperimentStage2, task: TransferTask, perception: Perception
) -> None:
    painted = PairRenderer(model, task, perception, 2).paint([2, 0, 1])
    assert list(painted) == [2, 0, 1]
    expected = rendered(PairRenderer(model, task, perception, 4), [2])
    for method, picture in painted[2].items():
        pixels = (expected[method].pictures[0].permute(1, 2, 0) + 1) * 127.5
        assert np.abs(picture - pixels.numpy()).max() <= 1
    photograph, painting = task.pairs[0]
    for method, pictures, index in ((COPIED_CONTENT, task.contents, photograph), (COPIED_STYLE, task.styles, painting)):
        np.testing.assert_array_equal(painted[0][method], pictures.centre([index], 32)[0].permute(1, 2, 0).numpy())


def test_rows_joined_in_another_order_are_the_pictures_in_that_order(perception: Perception) -> None:
    pictures = torch.rand(3, 3, 32, 32) * 2 - 1
    latents, indices = torch.randn(3, 8, 4, 4), torch.arange(48).view(3, 4, 4)
    rows = observe(perception, pictures, latents, indices).rows()
    joined = Observed.join([rows[2], rows[0], rows[0]])
    directly = observe(perception, pictures[[2, 0, 0]], latents[[2, 0, 0]], indices[[2, 0, 0]])
    assert joined.indices is not None
    assert torch.equal(joined.indices, indices[[2, 0, 0]])
    for name in ("pictures", "latents", "colours", "pooled"):
        torch.testing.assert_close(getattr(joined, name), getattr(directly, name))
    (ours,), (theirs,) = joined.textures, directly.textures
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3)
    for name in ("features", "grams", "moments"):
        torch.testing.assert_close(getattr(joined, name), getattr(directly, name), rtol=1e-4, atol=1e-4)


def test_a_row_does_not_hold_its_whole_batch_in_memory(perception: Perception) -> None:
    pictures = torch.rand(4, 3, 32, 32)
    row = observe(perception, pictures, pictures).rows()[1]
    assert row.indices is None
    for tensor in (row.pictures, row.features[0], row.grams[0], row.textures[0].forms):
        assert tensor.untyped_storage().nbytes() == tensor.nbytes


class Counted:
    """Squares of numbers, and which were worked out in which call."""

    def __init__(self) -> None:
        self.calls: list[list[int]] = []

    def __call__(self, indices: list[int]) -> list[int]:
        self.calls.append(indices)
        return [index**2 for index in indices]


def test_recent_values_are_computed_once_and_in_one_batch() -> None:
    compute = Counted()
    recent = RecentlyUsed(compute, keep=4)
    assert recent([3, 1, 3]) == [9, 1, 9]
    assert recent([1, 2, 3]) == [1, 4, 9]
    assert recent([3, 1]) == [9, 1]
    assert compute.calls == [[3, 1], [2]]


def test_the_value_that_was_not_asked_for_longest_is_forgotten() -> None:
    compute = Counted()
    recent = RecentlyUsed(compute, keep=2)
    for indices in ([1, 2], [1], [3], [1, 2]):
        recent(indices)
    # when 3 came, 2 had to go
    assert compute.calls == [[1, 2], [3], [2]]


def test_a_batch_larger_than_what_is_kept_is_still_answered() -> None:
    assert RecentlyUsed(Counted(), keep=1)([5, 4, 3, 5]) == [25, 16, 9, 25]
