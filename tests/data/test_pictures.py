"""Reading prepared pictures."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image

from quantart.data.index import read_files, write_index
from quantart.data.pictures import PackedPictures
from quantart.data.prepare import prepare_domain
from quantart.errors import UserError
from quantart.params.data import DataParams

SAMPLE = Path(__file__).parents[2] / "data" / "sample"


@pytest.fixture
def prepared(painted: Path, tmp_path: Path) -> Path:
    return shutil.copytree(painted, tmp_path / "prepared")


@pytest.fixture(scope="module")
def painted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixteen paintings of the sample set, short side 48."""
    folder = tmp_path_factory.mktemp("pictures")
    (folder / "paintings").mkdir()
    for path in sorted((SAMPLE / "paintings").glob("*.jpg"))[:16]:
        shutil.copy(path, folder / "paintings")
    params = DataParams(content="", style="", resolution=32, short_side=48, val_share=0.2, test_share=0.2)
    prepare_domain(folder / "paintings", folder / "out", params, domain="style", workers=1)
    return folder / "out"


def test_the_splits_share_all_pictures_out(prepared):
    splits = [PackedPictures(prepared, split) for split in ("train", "val", "test")]
    assert sum(map(len, splits)) == 16
    assert len({file for pictures in splits for file in pictures.files}) == 16
    assert all(pictures.short_side == 48 for pictures in splits)
    assert all(len(pictures.sha256) == len(pictures) > 0 for pictures in splits)
    assert len({pictures.digest for pictures in splits}) == 3


def test_centre_is_the_middle_of_the_stored_picture(prepared):
    pictures = PackedPictures(prepared, "train")
    batch = pictures.centre([2, 0], 32)
    assert batch.shape == (2, 3, 32, 32)
    assert batch.dtype == torch.uint8
    assert batch.is_contiguous()
    for row, index in enumerate((2, 0)):
        whole = pictures.picture(index)
        top, left = (whole.shape[0] - 32) // 2, (whole.shape[1] - 32) // 2
        expected = whole[top : top + 32, left : left + 32]
        assert np.array_equal(batch[row].permute(1, 2, 0).numpy(), expected)


def test_crops_are_parts_of_their_picture_and_cover_it(prepared):
    pictures = PackedPictures(prepared, "train")
    whole = pictures.picture(0)
    windows = np.lib.stride_tricks.sliding_window_view(whole, (32, 32), axis=(0, 1))
    places = {windows[y, x].tobytes(): (y, x) for y in range(windows.shape[0]) for x in range(windows.shape[1])}
    crops = pictures.crops([0] * 400, 32, np.random.default_rng(0).random((400, 3)))
    assert crops.shape == (400, 3, 32, 32)
    plain = [places.get(crop.numpy().tobytes()) for crop in crops]
    mirrored = [places.get(np.ascontiguousarray(crop.numpy()[:, :, ::-1]).tobytes()) for crop in crops]
    assert all(straight or turned for straight, turned in zip(plain, mirrored, strict=True))
    assert 150 < sum(place is not None for place in mirrored) < 250
    seen = [place for place in plain + mirrored if place]
    assert {y for y, _ in seen} == set(range(windows.shape[0]))
    assert {x for _, x in seen} == set(range(windows.shape[1]))


def test_the_draws_decide_place_and_mirroring(prepared):
    pictures = PackedPictures(prepared, "train")
    whole = pictures.picture(1)
    height, width = whole.shape[:2]
    almost_one = np.nextafter(1.0, 0.0)
    draws = np.array([[0.0, 0.0, 0.5], [almost_one, almost_one, 0.5], [0.0, almost_one, 0.49]])
    crops = pictures.crops(np.array([1, 1, 1]), 32, draws).permute(0, 2, 3, 1).numpy()
    assert np.array_equal(crops[0], whole[:32, :32])
    assert np.array_equal(crops[1], whole[height - 32 :, width - 32 :])
    assert np.array_equal(crops[2], whole[:32, width - 32 :][:, ::-1])


def test_a_crop_may_be_as_long_as_the_short_side_but_no_longer(prepared):
    pictures = PackedPictures(prepared, "val")
    assert pictures.centre([0], 48).shape == (1, 3, 48, 48)
    assert pictures.crops([0], 48, np.full((1, 3), 0.9)).shape == (1, 3, 48, 48)
    with pytest.raises(UserError, match="49 pixels .* 48; .*quantart prepare"):
        pictures.centre([0], 49)


def test_the_digest_changes_with_content_and_size_but_not_with_names(prepared):
    digest = PackedPictures(prepared, "train").digest
    files = read_files(prepared, 16)
    order = [
        i for i, row in enumerate(files.to_pylist()) if row["file"] in set(PackedPictures(prepared, "train").files)
    ]

    def changed(column: str, values: list[object]) -> str:
        place = files.column_names.index(column)
        other = files.set_column(place, files.schema.field(column), [pa.array(values, files.schema.field(column).type)])
        write_index(prepared, other, {"train": order})
        return PackedPictures(prepared, "train").digest

    assert changed("file", [f"{i}.jpeg" for i in range(16)]) == digest
    assert changed("height", [48] * 16) != digest
    assert changed("sha256", [bytes([i] * 32) for i in range(16)]) != digest


def test_pictures_are_read_only(prepared):
    with pytest.raises(ValueError, match="read-only"):
        PackedPictures(prepared, "train").picture(0)[0, 0] = 0


def test_a_folder_that_is_prepared_again_is_not_read_by_the_old_index(tmp_path):
    for shade in range(6):
        Image.new("RGB", (32, 32), (40 * shade, 0, 0)).save(tmp_path / f"{shade}.png")
    out = tmp_path.with_name("again")
    changes = {"content": "-", "style": "-", "resolution": 32, "short_side": 32, "val_share": 0, "test_share": 0}
    params = DataParams.model_validate(changes)
    prepare_domain(tmp_path, out, params, domain="content", workers=1)
    pictures, seen = PackedPictures(out, "train"), PackedPictures(out, "train")
    kept = seen.picture(5).copy()
    (tmp_path / "0.png").unlink()
    prepare_domain(tmp_path, out, params, domain="content", workers=1)
    for index in (0, 5):  # another picture, and none
        with pytest.raises(UserError, match="again: was prepared again, with other pictures"):
            pictures.picture(index)
    assert np.array_equal(seen.picture(5), kept)  # what is open stays


def test_a_folder_that_was_not_prepared_says_what_to_run(tmp_path):
    with pytest.raises(UserError, match="quantart prepare"):
        PackedPictures(tmp_path, "train")


def test_an_unknown_split_is_refused(prepared):
    with pytest.raises(ValueError, match="'training' is none of train, val, test"):
        PackedPictures(prepared, "training")  # type: ignore[arg-type]
