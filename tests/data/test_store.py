"""Pictures and codes of a store: each shard is copied before its first use. tests/faults/test_data_store.py has S3."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from quantart.data import arrow_files, batches, index, packing, store
from quantart.data.batches import CodeBatches, PairBatches, PictureBatches
from quantart.data.codes import StoredCodes, write_codes, write_index
from quantart.data.pictures import PackedPictures
from quantart.data.prepare import prepare_domain
from quantart.data.store import mirror, source_of
from quantart.errors import UserError
from quantart.params.data import DataParams

COUNT = 12
ONE_PROCESS: Any = SimpleNamespace(process_index=0, num_processes=1, device=torch.device("cpu"))
OPTIONS = {"batch_size": 2, "crop": 32, "seed": 0, "accelerator": ONE_PROCESS}
PARAMS = DataParams.model_validate(
    {"content": "-", "style": "-", "resolution": 32, "short_side": 32, "val_share": 0, "test_share": 0}
)


@pytest.fixture(autouse=True)
def one_picture_a_shard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "SHARD", 1)
    monkeypatch.setattr(index, "SHARD", 1)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """What is in the store: twelve pictures, and codes of theirs in one shard."""
    make(tmp_path, shade=0)
    folder = tmp_path / "data" / "codes"
    folder.mkdir()
    draw = torch.Generator().manual_seed(0)
    codes = torch.randint(0, 50, (COUNT, 32, 32), generator=draw)
    write_codes(folder, 0, codes, torch.randn(COUNT, 3, 32, 32, generator=draw), 50)
    write_index(folder, {"copies": 1}, COUNT)
    return tmp_path / "data"


def make(folder: Path, shade: int) -> None:
    shutil.rmtree(folder / "pictures", ignore_errors=True)
    (folder / "pictures").mkdir()
    for i in range(COUNT):
        Image.new("RGB", (32, 32), (i, shade, 0)).save(folder / "pictures" / f"{i:02}.png")
    prepare_domain(folder / "pictures", folder / "data" / "prepared", PARAMS, domain="content", workers=1)


@pytest.fixture
def fetched(data: Path, tmp_path: Path) -> Path:
    copy(data, tmp_path / "fetched")
    return tmp_path / "fetched"


def copy(data: Path, to: Path) -> None:
    mirror(data.as_uri(), ["prepared/index.arrow", "codes/index.json"], to)


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is fetched in other threads is here before the next line."""

    def now(fetch: Callable[[], None]) -> Future[None]:
        future = store.soon(fetch)
        future.exception()
        return future

    monkeypatch.setattr(arrow_files, "soon", now)


def shards(folder: Path) -> set[str]:
    return {path.name for path in folder.glob("shard-*")}


def test_a_picture_is_the_folders_and_only_its_shard_was_fetched(data: Path, fetched: Path) -> None:
    here, there = PackedPictures(data / "prepared", "train"), PackedPictures(fetched / "prepared", "train")
    assert (there.digest, list(there.files), there.short_side) == (here.digest, list(here.files), 32)
    assert shards(fetched / "prepared") == set()
    np.testing.assert_array_equal(there.picture(5), here.picture(5))
    assert shards(fetched / "prepared") == {"shard-00005.arrow"}
    (data / "prepared" / "shard-00005.arrow").unlink()
    np.testing.assert_array_equal(there.picture(5), here.picture(5))


def test_codes_come_without_latents_and_latents_without_codes(data: Path, fetched: Path) -> None:
    here, there = StoredCodes(data / "codes"), StoredCodes(fetched / "codes")
    rows = np.array([7, 0])
    assert torch.equal(there.codes(rows), here.codes(rows))
    assert shards(fetched / "codes" / "codes") == {"shard-00000.arrow"}
    assert shards(fetched / "codes" / "latents") == set()
    assert torch.equal(there.latents(rows), here.latents(rows))
    whole = (data / "codes" / "shard-00000.arrow").stat().st_size
    parts = [(fetched / "codes" / each / "shard-00000.arrow").stat().st_size for each in ("codes", "latents")]
    assert max(parts) < whole < sum(parts) + 2000


@pytest.mark.usefixtures("at_once")
def test_batches_are_the_folders_and_those_of_later_steps_are_on_their_way(
    data: Path, fetched: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "AHEAD", 3)

    def of(kind: str, folder: Path) -> Any:
        pictures = PackedPictures(folder / "prepared", "train")
        if kind == "pictures":
            return PictureBatches({"content": pictures}, **OPTIONS)
        if kind == "pairs":
            return PairBatches(pictures, pictures, **OPTIONS)
        stored = StoredCodes(folder / "codes")
        return CodeBatches(stored, stored, variant="discrete", **OPTIONS)

    def needed(step: int) -> set[str]:
        return {f"shard-{int(name.split()[1][:2]):05}.arrow" for name in of("pictures", data).files(step)}

    there = of("pictures", fetched)
    assert torch.equal(there(0), of("pictures", data)(0))
    assert shards(fetched / "prepared") == needed(0) | needed(1) | needed(2)
    there(1)
    assert shards(fetched / "prepared") == needed(0) | needed(1) | needed(2) | needed(3)
    for kind in ("pairs", "codes"):
        here, there = of(kind, data), of(kind, fetched)
        for step in (0, 1, 40):
            assert all(torch.equal(*each) for each in zip(there(step), here(step), strict=True))


@pytest.mark.usefixtures("at_once")
def test_what_could_not_be_fetched_ahead_is_fetched_when_it_is_needed(data: Path, fetched: Path) -> None:
    there = PackedPictures(fetched / "prepared", "train")
    away = (data / "prepared").rename(data / "away")
    there.want([3, 4])
    with pytest.raises(UserError, match=r"shard-00003.arrow: not found; .*whole folder `data`"):
        there.picture(3)
    away.rename(data / "prepared")
    np.testing.assert_array_equal(there.picture(4), PackedPictures(data / "prepared", "train").picture(4))


def test_a_store_that_has_changed_takes_the_place_of_what_was_copied(data: Path, fetched: Path) -> None:
    first = PackedPictures(fetched / "prepared", "train")
    first.picture(1)
    copy(data, fetched)
    assert shards(fetched / "prepared") == {"shard-00001.arrow"}
    make(data.parent, shade=9)
    copy(data, fetched)
    assert shards(fetched / "prepared") == set()
    assert PackedPictures(fetched / "prepared", "train").picture(1)[0, 0].tolist() == [1, 9, 0]
    with pytest.raises(UserError, match="was written again"):
        first.picture(2)


def test_codes_that_were_encoded_again_are_not_mixed_with_the_former(data: Path, fetched: Path) -> None:
    there = StoredCodes(fetched / "codes")
    write_index(data / "codes", {"copies": 1}, COUNT)
    with pytest.raises(UserError, match=r"codes/index.json: was written again meanwhile; start again"):
        there.codes(np.array([0]))
    assert shards(fetched / "codes" / "codes") == set()


def test_a_shard_that_the_store_lacks_is_named_before_it_is_needed(data: Path, fetched: Path) -> None:
    (data / "prepared" / "shard-00007.arrow").unlink()
    with pytest.raises(UserError, match=r"data/prepared/shard-00007.arrow: has 0 bytes instead of \d+; copy the"):
        PackedPictures(fetched / "prepared", "train")


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("file:///nowhere/data", "file:///nowhere/data/prepared/index.arrow: not found; the project's whole folder"),
        ("ftp://host/data", "ftp://host/data: Unrecognized filesystem type in URI"),
        ("some/folder", "some/folder: URI has empty scheme"),
        ("s3://me:secret@bucket/data", "the address of the store has keys in it; AWS_ACCESS_KEY_ID and"),
    ],
)
def test_what_is_no_store_is_said(address: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        mirror(address, ["prepared/index.arrow"], tmp_path / "fetched")
    assert str(error.value).startswith(said)
    assert "secret@" not in str(error.value)
    assert not list((tmp_path / "fetched").glob("[!.]*"))


def test_a_folder_of_ones_own_has_no_source(data: Path, fetched: Path) -> None:
    assert source_of(data / "prepared") is None
    found = source_of(fetched / "prepared")
    assert found is not None
    assert found.store.address == f"{data.as_uri()}/prepared"
