from dataclasses import replace

from quantart.evaluation.resampling import Estimate
from quantart.registry.card import Card, DataRow

CARD = Card(
    name="painter",
    runs={"discrete": ("stage2_discrete", "d1"), "continuous": ("stage2_continuous", "c1")},
    resolution=128,
    data=[DataRow("training", "content", 63, "data/sample|photos", "c533ebfba55b0847", "CC0-1.0 (63)")],
    metrics={"gram_vgg16": Estimate(0.25, 0.2, 0.31), "usage": Estimate(0.99)},
    pairs=48,
    lineage={"git.commit": "abc123"},
)


def test_it_says_what_the_model_is() -> None:
    text = CARD.markdown()
    for line in (
        "By default alpha (visual fidelity) is 1: discrete.",
        "| training | content | 63 | `data/sample¦photos` | c533ebfba55b | CC0-1.0 (63) |",
        "The discrete network on 48 held-out pairs; smaller is better, except usage. Measured, and judged by the "
        "gates, is the discrete network alone, at beta = 1: neither the continuous one nor any alpha between.",
        "| gram_vgg16 | 0.25 | 0.2 to 0.31 |",
        "| usage | 0.99 | none |",
        "- continuous network: run stage2_continuous (c1)",
        "- git.commit: abc123",
    ):
        assert line in text.splitlines(), line
    assert "squares of 128 pixels" in text
    assert 'load_model("models:/painter/VERSION")' in text


def test_without_a_metric_that_should_be_large_smaller_is_better() -> None:
    text = replace(CARD, metrics={"gram_vgg16": Estimate(0.25)}).markdown()
    assert "The discrete network on 48 held-out pairs; smaller is better. " in text


def test_it_says_what_is_not_known() -> None:
    text = replace(CARD, runs={"continuous": ("a", "b")}, data=[], metrics=[], pairs=None).markdown()
    assert "It holds the continuous network alone: alpha (visual fidelity) is 0, always." in text
    assert "It has not been evaluated." in text
    assert "Its runs logged none." in text
    assert "pictures sent" in text
