"""Parameters chosen by key, and keys noted as they are read."""

from __future__ import annotations

from pathlib import Path

import pytest

from quantart.params.file import load_params
from tests.params.recording import recording

SHIPPED = load_params(Path(__file__).parents[1] / "small.yaml")


def test_values_and_sections_are_selected_by_dotted_key() -> None:
    assert SHIPPED.select(["seed", "data.resolution", "stage1.base"]) == {
        "seed": SHIPPED.seed,
        "data": {"resolution": SHIPPED.data.resolution},
        "stage1": {"base": SHIPPED.stage1.base.model_dump()},
    }
    assert SHIPPED.select(["stage1.base", "stage1"]) == SHIPPED.select(["stage1"])
    assert SHIPPED.select([]) == {}


@pytest.mark.parametrize("key", ["speed", "stage1.bases", "data.resolution.x", "stages.base"])
def test_a_key_that_no_parameter_has_is_named(key: str) -> None:
    with pytest.raises(KeyError, match=key):
        SHIPPED.select(["seed", key])


@pytest.mark.slow
def test_every_value_that_is_read_is_noted_by_its_key() -> None:
    view, read = recording(SHIPPED)
    assert not read
    assert view.data.folder("content") == SHIPPED.data.content
    assert view.data.resolution // view.model.downsampling == 32
    assert read == {"data.content", "data.resolution", "model.ch_mult", "model.patch"}
    sizes = {"width", "coarse_blocks"}
    assert view.stage2.painting.model_dump(include=sizes) == SHIPPED.stage2.painting.model_dump(include=sizes)
    assert read >= {"stage2.painting.width", "stage2.painting.coarse_blocks"}
    assert "stage2.painting.fine_blocks" not in read


def test_a_dump_reads_its_whole_section_and_a_selection_nothing() -> None:
    view, read = recording(SHIPPED)
    assert view.select(["model"]) == SHIPPED.select(["model"])
    assert not read
    assert view.stage1.quantizer.model_dump() == SHIPPED.stage1.quantizer.model_dump()
    assert read == {f"stage1.quantizer.{name}" for name in type(SHIPPED.stage1.quantizer).model_fields}
    assert view.model_dump() == SHIPPED.model_dump()
    assert read >= {"seed", "stage1.domain.quantize_from", "promote.limits"}
