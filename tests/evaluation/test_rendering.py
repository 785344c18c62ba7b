from functools import partial

import numpy as np
import pytest
import torch

from quantart.evaluation import methods
from quantart.evaluation.methods import ADAIN, BASELINES, CONTENT_DECODED, COPIED_CONTENT, COPIED_STYLE
from quantart.evaluation.observed import Observed, Perception
from quantart.evaluation.rendering import PairRenderer
from quantart.evaluation.task import TransferTask
from quantart.images.arrays import pixels_to_float
from quantart.models.fidelity import Fidelity, FidelityControl
from quantart.models.stage_2 import ExperimentStage2
from quantart.vocabulary.metrics import MODEL

pytestmark = pytest.mark.parametrize("variant", ["discrete"], indirect=True)
NUMBERS = [0, 3, 1]


@torch.inference_mode()
def rendered(render: PairRenderer, numbers: list[int]) -> dict[str, Observed]:
    return dict(render(numbers, *render.originals(numbers)))


def test_the_originals_are_the_photographs_and_paintings_of_the_pairs(
    model: ExperimentStage2, task: TransferTask, perception: Perception
) -> None:
    with torch.inference_mode():
        content, style = PairRenderer(model, task, perception, 4).originals(NUMBERS)
    contents, styles = zip(*(task.pairs[number] for number in NUMBERS), strict=True)
    assert torch.equal(content.pictures, pixels_to_float(task.contents.centre(list(contents), 32)))
    assert torch.equal(style.pictures, pixels_to_float(task.styles.centre(list(styles), 32)))


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
