import csv
import hashlib
import shutil
from pathlib import Path

import pytest

from quantart.data.licences import licences

SAMPLE = Path(__file__).parents[2] / "data" / "sample"


def test_the_licences_of_all_sample_pictures_are_known() -> None:
    assert licences(SAMPLE / "paintings") == {"CC0-1.0 (The Met Open Access)": 75}
    photos = licences(SAMPLE / "photos")
    assert photos is not None
    assert sum(photos.values()) == 57


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two pictures, both in the manifest."""
    photos = tmp_path / "photos"
    photos.mkdir()
    with (tmp_path / "manifest.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["file", "licence", "sha256"])
        writer.writeheader()
        for name in ("colosseum.jpg", "kitten_on_lawn.jpg"):
            shutil.copy(SAMPLE / "photos" / name, photos)
            digest = hashlib.sha256((photos / name).read_bytes()).hexdigest()
            writer.writerow({"file": f"photos/{name}", "licence": "CC0-1.0", "sha256": digest})
    return photos


def test_one_unlisted_picture_makes_the_licences_unknown(folder: Path) -> None:
    assert licences(folder) == {"CC0-1.0": 2}
    shutil.copy(folder / "colosseum.jpg", folder / "mine.jpg")
    assert licences(folder) is None


def test_a_picture_with_another_sha256_is_unknown(folder: Path) -> None:
    shutil.copy(folder / "colosseum.jpg", folder / "kitten_on_lawn.jpg")
    assert licences(folder) is None


def test_without_a_manifest_or_pictures_nothing_is_known(folder: Path) -> None:
    for picture in folder.iterdir():
        picture.unlink()
    assert licences(folder) is None
    (folder.parent / "manifest.csv").unlink()
    assert licences(folder) is None
    assert licences(folder / "absent") is None


def test_with_another_kind_of_manifest_or_a_missing_picture_nothing_is_known(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").symlink_to(tmp_path / "nowhere")
    (tmp_path / "manifest.csv").write_bytes("file,licence\nphotos/é.jpg,CC0\n".encode("latin-1"))
    assert licences(tmp_path / "photos") is None
    (tmp_path / "manifest.csv").write_text("file,licence,sha256\nphotos/a.jpg,CC0,00\n")
    assert licences(tmp_path / "photos") is None
