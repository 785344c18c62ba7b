import shutil
from pathlib import Path

import numpy as np
import pytest

from quantart.data.originals import pack_originals
from quantart.data.packing import Geometry
from quantart.data.pictures import PackedPictures
from quantart.data.prepare import prepare_domain
from quantart.errors import UserError
from quantart.images.arrays import crop_to_aspect, resize_short_side
from quantart.images.decode import read_image
from quantart.params.data import DataParams

SAMPLE = Path(__file__).parents[2] / "data" / "sample" / "photos"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for file in sorted(SAMPLE.glob("*.jpg"))[:4]:
        shutil.copy(file, folder)
    return folder


@pytest.fixture
def prepared(source: Path, tmp_path: Path) -> PackedPictures:
    params = DataParams(content=str(source), style="-", resolution=32, short_side=32, val_share=0.0, test_share=0.0)
    prepare_domain(source, tmp_path / "prepared", params, domain="content", workers=1)
    return PackedPictures(tmp_path / "prepared", "train")


def test_the_chosen_pictures_come_back_larger_in_the_order_asked_for(
    source: Path, prepared: PackedPictures, tmp_path: Path
) -> None:
    made = pack_originals(prepared, [2, 0], tmp_path / "made", Geometry(200, 2.0, 10**6), source)
    assert list(made.files) == [prepared.files[2], prepared.files[0]]
    assert list(made.sha256) == [prepared.sha256[2], prepared.sha256[0]]
    assert made.short_side == 200
    original = read_image(source / made.files[1], max_pixels=10**6)
    assert np.array_equal(made.picture(1), resize_short_side(crop_to_aspect(original, 2.0), 200))


def test_a_picture_that_is_gone_changed_or_too_small_is_named(
    source: Path, prepared: PackedPictures, tmp_path: Path
) -> None:
    first, second, *_ = prepared.files

    def refused(side: int = 64) -> UserError:
        with pytest.raises(UserError) as error:
            pack_originals(prepared, [0, 1], tmp_path / "made", Geometry(side, 2.0, 10**6), source)
        assert not (tmp_path / "made").exists()
        return error.value

    assert "too small" in refused(3000).fault
    shutil.copy(source / second, source / first)
    assert repr(first) in refused().fault
    assert "quantart prepare" in refused().remedy
    (source / first).unlink()
    assert repr(first) in refused().fault
