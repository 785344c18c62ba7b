"""A folder of good and bad pictures to a prepared one."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
import tarfile
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from quantart.data.pictures import PackedPictures
from quantart.data.prepare import prepare_domain
from quantart.errors import UserError
from quantart.images.arrays import Picture, resize_short_side
from quantart.images.decode import decode_image, read_image
from quantart.params.data import DataParams
from quantart.vocabulary.names import SPLITS

from .prepared import pixels, read_index

SAMPLE = Path(__file__).parents[2] / "data" / "sample"
FILES = ["contact_sheet.jpg", "index.arrow", "rejected.csv", "report.json", "shard-00000.arrow"]


def params(**changes: object) -> DataParams:
    values: dict[str, object] = {"content": "unused", "style": "unused", "resolution": 32, "short_side": 48}
    return DataParams.model_validate(values | changes)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Twelve photographs of the sample set."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for path in sorted((SAMPLE / "photos").glob("*.jpg"))[:12]:
        shutil.copy(path, folder)
    return folder


prepare_content = partial(prepare_domain, domain="content", workers=1)


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf8", newline="") as file:
        return list(csv.DictReader(file))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def stored(file: Path) -> Picture:
    """What of a file is packed: its short side 48 pixels, of a JPEG that is read with at least twice as many."""
    return resize_short_side(decode_image(file.read_bytes(), max_pixels=10**7, least_side=96), 48)


def test_a_shard_holds_each_picture_where_the_index_says(photos, tmp_path):
    report = prepare_content(photos, tmp_path / "out", params())
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == FILES
    rows = read_index(tmp_path / "out")
    assert [row.file for row in rows] == sorted(path.name for path in photos.iterdir())
    for row in rows:
        original = photos / row.file
        expected = stored(original)
        assert (row.height, row.width) == expected.shape[:2]
        assert np.array_equal(pixels(tmp_path / "out", row), expected)
        assert row.sha256 == hashlib.sha256(original.read_bytes()).hexdigest()
    assert report.bytes == sum(3 * row.height * row.width for row in rows)
    assert report.longest_side == max(max(row.height, row.width) for row in rows)


def test_every_bad_file_is_set_aside_and_the_counts_add_up(photos, tmp_path):
    good = photos / "beacon_street_sunset.jpg"
    (photos / "empty.jpg").touch()
    (photos / "page.jpg").write_text("<html>404</html>")
    (photos / "cut.jpg").write_bytes(good.read_bytes()[:2000])
    (photos / "line\nbreak.jpg").write_bytes(b"x")
    (photos / "=1+1.jpg").write_bytes(b"x")
    (photos / "gone.jpg").symlink_to(tmp_path / "nowhere")
    Image.new("RGB", (1, 1)).save(photos / "dot.png")
    Image.new("1", (2000, 2000)).save(photos / "bomb.png")
    shutil.copy(good, photos / "🐼 copy.jpeg")
    Image.open(good).save(photos / "really a png.jpg", "PNG")
    Image.open(good).convert("CMYK").save(photos / f"{'z' * 240}.jpg")
    for name in ("a.xmp", "more.md", "notes.md"):
        (photos / name).write_text("no picture")

    report = prepare_content(photos, tmp_path / "out", params(max_pixels=1_000_000, max_rejected_share=0.5))

    rejected = {row["file"]: row["reason"] for row in table(tmp_path / "out" / "rejected.csv")}
    assert {file: reason.split(":")[0] for file, reason in rejected.items()} == {
        "./=1+1.jpg": "not a JPEG, PNG, WEBP, GIF, BMP, TIFF, AVIF, HEIF, JPEG2000 picture",
        "bomb.png": "too large",
        "cut.jpg": "broken picture",
        "dot.png": "too small",
        "empty.jpg": "the file is empty",
        "gone.jpg": "cannot be read",
        "line\nbreak.jpg": "not a JPEG, PNG, WEBP, GIF, BMP, TIFF, AVIF, HEIF, JPEG2000 picture",
        "page.jpg": "not a JPEG, PNG, WEBP, GIF, BMP, TIFF, AVIF, HEIF, JPEG2000 picture",
    }
    assert rejected["bomb.png"].endswith("the limit is 1000000 pixels; scale it down, or raise data.max_pixels")
    assert report.duplicates == [("🐼 copy.jpeg", "beacon_street_sunset.jpg")]
    assert (report.found, report.kept, len(report.rejected)) == (23, 14, 8)
    assert report.passed_over == ["a.xmp", "more.md", "notes.md"]
    assert report.found == report.kept + len(report.duplicates) + len(report.rejected)

    written = json.loads((tmp_path / "out" / "report.json").read_text())
    assert written["counts"] == {"found": 23, "kept": 14, "duplicates": 1, "rejected": 8, "passed_over": 3}
    assert written["passed_over"] == report.passed_over
    assert written["splits"] == report.splits
    assert sum(report.splits.values()) == 14 == sum(len(PackedPictures(tmp_path / "out", split)) for split in SPLITS)
    assert written["duplicates"] == [{"file": "🐼 copy.jpeg", "same_as": "beacon_street_sunset.jpg"}]
    assert [entry["file"] for entry in written["rejected"]] == list(rejected)
    splits = ", ".join(f"{count} {split}" for split, count in report.splits.items())
    assert report.summary(Path("there")) == (
        f"content: 14 used ({splits}), 1 duplicates, 8 set aside "
        "(3 × not a JPEG, PNG, WEBP, GIF, BMP, TIFF, AVIF, HEIF, JPEG2000 picture, 1 × too large, 1 × broken picture, "
        "3 × other), 3 passed over as no pictures (2 × .md, 1 × .xmp); all of them: there"
    )


def test_no_cell_of_a_table_begins_like_a_formula(photos, tmp_path):
    for start in "=+-@\t":
        (photos / f"{start}bad.jpg").write_bytes(b"x")
        Image.new("RGB", (60, 60), (ord(start), 0, 0)).save(photos / f"{start}good.png")
    prepare_content(photos, tmp_path / "out", params(max_rejected_share=0.9))
    rows = table(tmp_path / "out" / "rejected.csv")
    kept = [row.file for row in read_index(tmp_path / "out")]
    assert (len(rows), len(kept)) == (5, 17)
    assert not [cell for cell in [*rows[0], *(row["file"] for row in rows), *kept] if cell[0] in "=+-@\t\r"]


def test_the_same_pictures_give_the_same_bytes_whatever_the_workers(photos, tmp_path):
    (photos / "bad.jpg").write_bytes(b"x")
    for out, workers in (("one", 1), ("two", 2)):
        prepare_domain(photos, tmp_path / out, params(max_rejected_share=0.5), domain="content", workers=workers)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_added_and_renamed_pictures_leave_all_splits_unchanged(photos, tmp_path):
    prepare_content(photos, tmp_path / "out", params(val_share=0.3, test_share=0.3))
    before = {row.sha256: row.split for row in read_index(tmp_path / "out")}
    for path in list(photos.iterdir()):
        path.rename(path.with_name(f"x{path.name[::-1]}.jpg"))
    Image.new("RGB", (64, 64)).save(photos / "new.png")
    prepare_content(photos, tmp_path / "out", params(val_share=0.3, test_share=0.3))
    after = {row.sha256: row.split for row in read_index(tmp_path / "out")}
    assert len(after) == 13
    assert before.items() <= after.items()


def test_too_many_bad_files_stop_with_the_first_ten_reasons(photos, tmp_path):
    for i in range(14):
        (photos / f"bad{i:02}.jpg").write_bytes(b"" if i % 2 else b"x")
    with pytest.raises(UserError) as caught:
        prepare_content(photos, tmp_path / "out", params(max_rejected_share=0.5))
    lines = str(caught.value).splitlines()
    assert lines[0].startswith("data.content: 14 of 26 pictures can't be used, more than data.max_rejected_share 0.5")
    assert len(lines) == 12
    assert lines[1].startswith("  'bad00.jpg': not a JPEG")
    assert lines[10] == "  'bad09.jpg': the file is empty"
    assert lines[11] == "  and 4 more"
    assert not (tmp_path / "out").exists()


def test_the_share_itself_is_still_allowed(photos, tmp_path):
    for i in range(4):
        (photos / f"bad{i}.jpg").touch()
    assert prepare_content(photos, tmp_path / "out", params(max_rejected_share=0.25)).kept == 12


def test_only_bad_files_stop_whatever_the_share(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").touch()
    with pytest.raises(UserError, match=r"1 of 1 pictures can't be used"):
        prepare_content(tmp_path / "photos", tmp_path / "out", params(max_rejected_share=1.0))


def test_a_domain_with_no_picture_names_the_key(tmp_path):
    (tmp_path / "none").mkdir()
    with pytest.raises(UserError, match=rf"^data\.style: {tmp_path}/none: no picture"):
        prepare_domain(tmp_path / "none", tmp_path / "out", params(), domain="style")
    with pytest.raises(UserError, match=rf"^data\.style: {tmp_path}/nowhere: "):
        prepare_domain(tmp_path / "nowhere", tmp_path / "out", params(), domain="style")
    assert not (tmp_path / "out").exists()


def test_a_failed_preparation_leaves_the_earlier_one(photos, tmp_path):
    prepare_content(photos, tmp_path / "out", params())
    before = contents(tmp_path / "out")
    (photos / "bad.jpg").touch()
    with pytest.raises(UserError, match="can't be used"):
        prepare_content(photos, tmp_path / "out", params())
    assert contents(tmp_path / "out") == before


def test_someone_elses_folder_is_not_replaced(photos, tmp_path):
    with pytest.raises(UserError, match=f"^{photos}/out .*{photos}"):
        prepare_content(photos, photos / "out", params())
    other = tmp_path / "thesis"
    other.mkdir()
    (other / "chapter.txt").write_text("mine")
    with pytest.raises(UserError, match=f"^{other}: "):
        prepare_content(photos, other, params())
    with pytest.raises(UserError, match=f"^{other}/chapter.txt: "):
        prepare_content(photos, other / "chapter.txt", params())
    assert (other / "chapter.txt").read_text() == "mine"


def test_the_contact_sheet_shows_every_split(photos, tmp_path):
    prepare_content(photos, tmp_path / "out", params())
    sheet = read_image(tmp_path / "out" / "contact_sheet.jpg", max_pixels=10**8)
    assert sheet.shape[0] > 3 * 112  # one row at least for each of train, val and test
    assert sheet.std() > 30


def test_without_a_terminal_each_tenth_is_a_line(photos, tmp_path, capfd):
    prepare_content(photos, tmp_path / "out", params())
    lines = [line for line in capfd.readouterr().err.splitlines() if line.startswith("preparing ")]
    assert len(lines) == 10
    assert lines[-1] == "preparing content: 12 of 12"


def test_a_single_picture_is_in_every_split(tmp_path):
    source = SAMPLE / "paintings" / "gauguin_two_women.jpg"
    report = prepare_domain(source, tmp_path / "out", params(), domain="style", workers=1)
    assert (report.found, report.kept, report.splits) == (1, 1, {"train": 1, "val": 1, "test": 1})
    expected = stored(source)
    for split in SPLITS:
        pictures = PackedPictures(tmp_path / "out", split)
        assert list(pictures.files) == ["gauguin_two_women.jpg"]
        assert pictures.short_side == 48
        assert np.array_equal(pictures.picture(0), expected)
    assert report.bytes == expected.size
    (tmp_path / "bad.jpg").touch()
    with pytest.raises(UserError, match="1 of 1 pictures can't be used"):
        prepare_domain(tmp_path / "bad.jpg", tmp_path / "out", params(), domain="style")


def test_a_table_names_the_pictures_and_its_wrong_names_are_set_aside(photos, tmp_path):
    names = sorted(path.name for path in photos.iterdir())
    rows = "".join(f'"{name}",{"keep" if place < 8 else "leave"}\n' for place, name in enumerate(names))
    (tmp_path / "info.csv").write_text(f'filename,what\n{rows}gone.jpg,keep\n../secret.jpg,keep\n"=x,y.jpg",keep\n')
    shutil.copy(photos / names[0], tmp_path / "secret.jpg")
    wanted = params(content="info.csv", content_table={"where": "what == keep"}, max_rejected_share=0.3)
    report = prepare_content(tmp_path / "info.csv", tmp_path / "out", wanted, root=photos)
    assert (report.found, report.kept) == (11, 8)
    assert [row.file for row in read_index(tmp_path / "out")] == names[:8]
    assert table(tmp_path / "out" / "rejected.csv") == [
        {"file": "../secret.jpg", "reason": "leads out of photos; set `root` to a folder that it is in"},
        {"file": "./=x,y.jpg", "reason": "cannot be read: No such file or directory"},
        {"file": "gone.jpg", "reason": "cannot be read: No such file or directory"},
    ]
    with pytest.raises(UserError, match=r"3 of 11 pictures can't be used, more than data.max_rejected_share 0.27"):
        prepare_content(
            tmp_path / "info.csv",
            tmp_path / "out",
            wanted.model_copy(update={"max_rejected_share": 0.27}),
            root=photos,
        )


def test_a_shard_gives_the_same_pictures_as_its_folder_in_processes_too(photos, tmp_path):
    with tarfile.open(tmp_path / "photos.tar", "w") as archive:
        for path in photos.iterdir():  # in the order of the disk
            archive.add(path, path.name)
    prepare_content(photos, tmp_path / "folder", params())
    prepare_domain(tmp_path / "photos.tar", tmp_path / "shard", params(), domain="content", workers=2)
    assert contents(tmp_path / "folder") == contents(tmp_path / "shard")


def test_squashed_pictures_are_squares(photos, tmp_path):
    report = prepare_content(photos, tmp_path / "out", params(resize="squash"))
    assert {(row.height, row.width) for row in read_index(tmp_path / "out")} == {(48, 48)}
    assert report.longest_side == 48


def test_paired_pictures_are_split_by_name_whatever_else_is_there(photos, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    for path, painting in zip(sorted(photos.iterdir())[2:], sorted((SAMPLE / "paintings").iterdir()), strict=False):
        Image.open(painting).save(other / f"{path.stem}.png")
    paired = params(paired=True, val_share=0.3, test_share=0.3)
    prepare_content(photos, tmp_path / "content", paired)
    prepare_domain(other, tmp_path / "style", paired, domain="style", workers=1)
    splits = {Path(row.file).stem: row.split for row in read_index(tmp_path / "content")}
    assert set(splits.values()) == set(SPLITS)
    partners = {Path(row.file).stem: row.split for row in read_index(tmp_path / "style")}
    assert len(partners) == 10
    assert partners.items() <= splits.items()


def test_only_one_of_two_pictures_of_the_same_name_has_the_partner(photos, tmp_path):
    Image.new("RGB", (60, 60), "red").save(photos / "chamomile.png")
    shutil.copy(SAMPLE / "photos" / "chamomile.jpg", photos)
    shares = {"val_share": 0.3, "test_share": 0.3, "max_rejected_share": 0.1}
    report = prepare_content(photos, tmp_path / "out", params(paired=True, **shares))
    assert report.rejected == [("chamomile.png", "has the same name as chamomile.jpg; partners are found by name")]
    assert prepare_content(photos, tmp_path / "out", params()).rejected == []


def test_a_split_that_no_name_falls_into_is_reported_before_anything_is_trained(photos, tmp_path):
    with pytest.raises(UserError, match=r"^data\.content: none of 12 .*'val'.*; .*data\.val_share"):
        prepare_content(photos, tmp_path / "out", params(paired=True, val_share=0.0001))
    assert not (tmp_path / "out").exists()


def test_partners_are_found_and_split_alike_however_their_accents_are_coded(photos, tmp_path):
    (tmp_path / "paintings").mkdir()
    for number, file in enumerate(sorted(photos.iterdir())):
        shutil.copy(file, tmp_path / "paintings" / f"e\u0301 {number}.png")
        file.rename(photos / f"\u00e9 {number}.jpg")
    splits = {}
    for folder, domain in ((photos, "content"), (tmp_path / "paintings", "style")):
        prepare_domain(folder, tmp_path / domain, params(paired=True), domain=domain, workers=1)
        splits[domain] = [row.split for row in read_index(tmp_path / domain)]
    assert len(splits["content"]) == 12
    assert splits["content"] == splits["style"]


def test_two_names_that_look_alike_are_a_sentence_where_partners_go_by_name(photos, tmp_path):
    shutil.copy(photos / "chamomile.jpg", photos / "e\u0301.jpg")
    shutil.copy(photos / "beacon_street_sunset.jpg", photos / "\u00e9.jpg")
    (photos / "chamomile.jpg").unlink()
    (photos / "beacon_street_sunset.jpg").unlink()
    shares = {"val_share": 0.3, "test_share": 0.3, "max_rejected_share": 0.5}
    report = prepare_content(photos, tmp_path / "out", params(paired=True, **shares))
    ((file, reason),) = report.rejected
    assert file == "\u00e9.jpg"
    assert "accents" in reason
