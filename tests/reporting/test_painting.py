import pytest

from quantart.evaluation.estimates import Estimate
from quantart.reporting.painting import PAINTS_BELOW, paints_or_tints, part_in_training

TINTED = {"texture_a": Estimate(1.0, 0.9, 1.1), "texture_b": Estimate(0.8, 0.7, 0.9), "colour_rgb": Estimate(0.1)}
BELOW = {"texture_a": Estimate(0.8, 0.75, 0.89), "texture_b": Estimate(0.6, 0.5, 0.71), "colour_rgb": Estimate(9.0)}


def test_a_model_paints_only_where_every_interval_is_below_the_tinted_photographs() -> None:
    assert PAINTS_BELOW == 0.9
    assert paints_or_tints(BELOW, TINTED) == "paints"
    for name, reaching in (("texture_a", Estimate(0.8, 0.75, 0.91)), ("texture_b", Estimate(0.6, 0.5, 0.73))):
        assert paints_or_tints(BELOW | {name: reaching}, TINTED) == "tints"
    assert paints_or_tints(TINTED, TINTED) == "tints"


@pytest.mark.parametrize("model", [{}, BELOW | {"texture_a": Estimate(0.1)}])
def test_without_an_interval_nothing_is_said(model: dict[str, Estimate]) -> None:
    assert paints_or_tints(model, TINTED).startswith("can't be told")


def test_a_network_in_a_loss_took_part_in_training() -> None:
    parameters = {
        "stage2.loss.perceptual_network": "b",
        "stage2.loss.gram_weight": "16.0",
        "stage2.loss.perceptual_weight": "0.0",
        "stage1_style: stage1.loss.perceptual_network": "a",
        "stage1_style: stage1.loss.perceptual_weight": "0.0",
    }
    assert part_in_training(["a", "b"], parameters) == "`a` took no part in training. `b` was in the loss of stage2."
    for weight in ("perceptual_weight", "texture_weight"):
        trained = parameters | {f"stage1_style: stage1.loss.{weight}": "0.1"}
        assert part_in_training(["a"], trained) == "`a` was in the loss of stage1."
    assert "not known" in part_in_training(["a"], {})


def test_the_network_of_the_objective_painting_took_part_where_that_was_the_objective() -> None:
    parameters = {
        "stage2.objective": "painting",
        "stage2.painting.perceptual_network": "a",
        "stage2.painting.texture_weight": "10.0",
        "stage2.painting.colour_weight": "4.0",
    }
    took, no = "`a` was in the loss of stage2.", "`a` took no part in training."
    assert part_in_training(["a"], parameters) == took
    assert part_in_training(["a"], parameters | {"stage2.objective": "reference"}) == no
    assert part_in_training(["a"], parameters | {"stage2.painting.texture_weight": "0.0"}) == no
