"""The run that trained the other variant."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from quantart.tracking.session import stage_run
from quantart.tracking.siblings import find_sibling


def trained(project: Path, variant: str, style: str = "50", **params: Any) -> str:
    settings = {"variant": variant, "steps": 8, **params}
    upstream = {"stage1_content": "c0", "stage1_style": style}
    with stage_run(project, stage="stage2", name=f"stage2_{variant}", params=settings, upstream=upstream) as run:
        pass
    return run.run_id


def test_it_is_the_latest_that_differs_in_the_variant_alone(project: Path) -> None:
    discrete = trained(project, "discrete")
    trained(project, "discrete")
    trained(project, "continuous", steps=9)
    trained(project, "continuous", style="51")
    assert find_sibling(discrete) is None
    first, second = (trained(project, "continuous") for _ in range(2))
    assert find_sibling(discrete) == second
    assert find_sibling(first) != discrete  # a later discrete run is its sibling
    with pytest.raises(RuntimeError), stage_run(project, stage="stage2", name="failed", params={}):
        raise RuntimeError
    assert find_sibling(discrete) == second


def test_a_run_that_names_no_upstream_has_none(project: Path) -> None:
    with stage_run(project, stage="stage2", name="imported", params={"variant": "discrete"}) as run:
        pass
    trained(project, "continuous")
    assert find_sibling(run.run_id) is None
