from __future__ import annotations

from typing import Any

from quantart.evaluation.estimates import Estimate
from quantart.registry.card import model_card
from quantart.tracking.runs import DataUsed

CARD: dict[str, Any] = {
    "name": "painter",
    "runs": {"discrete": ("stage2_discrete", "d1"), "continuous": ("stage2_continuous", "c1")},
    "resolution": 128,
    "data": {DataUsed("content", "c533ebfba55b0847", "data/sample|photos", "training", 63): "CC0-1.0 (63)"},
    "metrics": {"gram_vgg16": Estimate(0.25, 0.2, 0.31), "usage": Estimate(0.99)},
    "pairs": 48,
    "lineage": {"git.commit": "abc123"},
}


def sections(**changes: Any) -> dict[str, str]:
    """The card by heading; the head is under its name."""
    head, *others = model_card(**CARD | changes).split("\n## ")
    return {"head": head} | dict(section.split("\n\n", 1) for section in others)


def test_it_says_what_the_model_is() -> None:
    card = sections()
    assert list(card) == ["head", "Data", "Measured", "Limits", "Lineage", "Use"]
    assert card["head"].startswith("# painter: ")
    assert card["head"].endswith(" is 1: discrete.\n")
    assert "| training | content | 63 | `data/sample¦photos` | c533ebfba55b | CC0-1.0 (63) |" in card["Data"]
    assert "128 pixels" in card["Limits"]
    assert "- continuous network: run stage2_continuous (c1)\n- git.commit: abc123\n" in card["Lineage"]
    assert 'load_model("models:/painter/VERSION")' in card["Use"]
    assert "`refine` is a number of steps, 0 by default" in card["Use"]


def test_metrics_come_with_intervals_and_which_way_is_better() -> None:
    measured = sections()["Measured"]
    assert "| gram_vgg16 | 0.25 | 0.2 to 0.31 |\n| usage | 0.99 | none |" in measured
    assert "48 held-out pairs" in measured
    assert "except usage" in measured
    assert "continuous" in measured  # was not measured
    assert "except" not in sections(metrics={"gram_vgg16": Estimate(0.25)})["Measured"]
    assert "continuous" not in sections(runs={"discrete": ("a", "b")})["Measured"]


def test_it_says_what_is_not_known() -> None:
    card = sections(runs={"continuous": ("a", "b")}, data={}, metrics={}, pairs=None)
    assert "continuous" in card["head"]
    assert card["head"].endswith("always 0.\n")
    assert "|" not in card["Data"] + card["Measured"]
