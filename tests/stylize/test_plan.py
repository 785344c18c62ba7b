import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from quantart.errors import UserError
from quantart.stylize import plan as module
from quantart.stylize.plan import Clip, find_clip, make_plan


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with (empty) pictures in it."""
    monkeypatch.chdir(tmp_path)
    files = ("a/1.jpg", "a/2.PNG", "a/deep/3.webp", "a/.hidden.jpg", "a/notes.txt", "b/1.png", "s/x.jpg", "s/y.jpg")
    for name in files:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()
    return tmp_path


def names(paths: list[Path]) -> list[str]:
    return [path.as_posix() for path in paths]


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (["a"], ["a/1.jpg", "a/2.PNG", "a/deep/3.webp"]),
        (["a/*.jpg", "b/1.png"], ["a/1.jpg", "b/1.png"]),
        (["a/*"], ["a/1.jpg", "a/2.PNG", "a/deep/3.webp"]),
        (["**/1.*"], ["a/1.jpg", "b/1.png"]),
        (["b/1.png", "b", "./b/1.png"], ["b/1.png"]),  # each once
        (["a/notes.txt"], ["a/notes.txt"]),  # named by itself: it is tried
    ],
)
def test_files_folders_and_patterns_are_found(arguments: list[str], found: list[str]) -> None:
    assert names(make_plan(arguments, ["s/x.jpg"], Path("out")).contents) == found


def test_a_folder_of_links_is_followed_and_loops_are_not() -> None:
    Path("links").mkdir()
    for name, target in {"photo.jpg": "a/1.jpg", "more": "b", "up": "links", "out": "s"}.items():
        Path("links", name).symlink_to(Path(target).absolute())
    found = make_plan(["links"], ["s/x.jpg"], Path("s")).contents
    assert names(found) == ["links/more/1.png", "links/photo.jpg"]  # not those in --out


def test_pictures_are_known_by_their_bytes_and_names_match_however_their_accents_are_coded() -> None:
    Path("Zu\u0308rich").mkdir()
    Path("Zu\u0308rich/dog").write_bytes(b"\xff\xd8\xff")
    Path("Zu\u0308rich/notes").write_text("no picture")
    for argument in ("Z\u00fcrich", "Zu\u0308rich/*"):
        assert names(make_plan([argument], ["s/x.jpg"], Path("out")).contents) == ["Zu\u0308rich/dog"]


def test_a_name_with_a_star_in_it_is_no_pattern() -> None:
    Path("b/[1].png").touch()
    assert names(make_plan(["b/[1].png"], ["s/x.jpg"], Path("out")).contents) == ["b/[1].png"]


def test_outputs_are_no_contents_the_next_time() -> None:
    Path("a/out").mkdir()
    Path("a/out/1_x.png").touch()
    plan = make_plan(["a"], ["s/x.jpg"], Path("a/out"), force=True)
    assert names(plan.contents) == ["a/1.jpg", "a/2.PNG", "a/deep/3.webp"]


def test_each_pair_has_its_own_name() -> None:
    Path("s/X.jpg").touch()  # one with x.jpg on some file systems
    Path("s/grid.png").touch()
    plan = make_plan(["a/1.jpg", "b/1.png"], ["s/x.jpg", "s/X.jpg"], Path("out"))
    assert [names(row) for row in plan.outputs] == [
        ["out/1_x.png", "out/1_X-2.png"],
        ["out/1_x-3.png", "out/1_X-4.png"],
    ]
    assert names(plan.grids) == ["out/grid.png"]


def test_one_style_needs_no_grid_and_long_names_are_cut() -> None:
    long = Path("b") / ("ä" * 120 + ".png")
    long.touch()
    plan = make_plan([str(long)], ["s/x.jpg"], Path("out"))
    assert plan.grids == []
    assert plan.outputs[0][0].name == "ä" * 50 + "_x.png"


def test_a_grid_of_many_contents_comes_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GRID_CELLS", 6)
    plan = make_plan(["a", "b"], ["s"], Path("out"))
    assert plan.grid_rows == 2
    assert names(plan.grids) == ["out/grid.png", "out/grid-2.png"]


def test_of_one_pair_out_may_be_a_file() -> None:
    assert make_plan(["b"], ["s/x.jpg"], Path("crab.png")).outputs == [[Path("crab.png")]]
    Path("folder.png").mkdir()
    assert make_plan(["b"], ["s/x.jpg"], Path("folder.png")).outputs == [[Path("folder.png/1_x.png")]]


@pytest.mark.parametrize(
    ("content", "out", "fault"),
    [
        ("a", "crab.png", "--out crab.png: .* 3 "),
        ("b", "crab.gif", "crab.gif: .* .png, .jpg, .jpeg, .webp"),
        ("b", "no/crab.png", "no/crab.png: .* no "),
        ("b", "a/notes.txt", "--out a/notes.txt: "),
        ("b", "s/x.jpg", "s/x.jpg: "),
        ("a", "done", "done/1_x.png and 1 more: "),
        ("no.jpg", "out", "no.jpg: "),
        ("a/*.bmp", "out", r"a/\*.bmp: .*JPEG"),
        ("empty", "out", "empty: .*JPEG"),
    ],
)
def test_what_cannot_be_done_is_said_before_any_work(content: str, out: str, fault: str) -> None:
    Path("empty").mkdir()
    Path("done").mkdir()
    for name in ("1_x.png", "3_x.png"):
        (Path("done") / name).touch()
    with pytest.raises(UserError) as refused:
        make_plan([content], ["s/x.jpg"], Path(out))
    assert re.match(fault, refused.value.fault)
    assert ("--force" in refused.value.remedy) == (out in {"s/x.jpg", "done"})


def test_what_is_there_is_left_or_overwritten_but_not_both() -> None:
    Path("done").mkdir()
    Path("done/1_x.png").touch()
    plan = make_plan(["a"], ["s/x.jpg"], Path("done"), skip_existing=True)
    assert plan.skip_existing
    assert names([output for row in plan.outputs for output in row])[0] == "done/1_x.png"
    with pytest.raises(UserError) as refused:
        make_plan(["a"], ["s/x.jpg"], Path("done"), force=True, skip_existing=True)
    assert "--force" in refused.value.fault
    assert "--skip-existing" in refused.value.fault


def test_force_overwrites() -> None:
    assert make_plan(["b"], ["s/y.jpg"], Path("s/x.jpg"), force=True).outputs == [[Path("s/x.jpg")]]


@pytest.mark.parametrize(
    ("out", "becomes"), [("new", "new/v_x.mp4"), ("a", "a/v_x.mp4"), ("v.mkv", "v.mkv"), ("b/V.MP4", "b/V.MP4")]
)
def test_a_video_goes_to_one_file(out: str, becomes: str) -> None:
    assert find_clip(["v.MOV"], ["s/x.jpg"], Path(out)) == Clip(Path("v.MOV"), Path("s/x.jpg"), Path(becomes))


def test_only_gifs_that_move_are_videos() -> None:
    frames = [Image.new("L", (40, 40), level) for level in (0, 200)]
    frames[0].save("still.gif")
    frames[0].save("moving.gif", save_all=True, append_images=frames[1:])
    assert find_clip(["still.gif"], ["s/x.jpg"], Path("out")) is None
    assert find_clip(["a", "b/1.png"], ["s/x.jpg"], Path("out")) is None
    assert find_clip(["moving.gif"], ["s/x.jpg"], Path("out")) is not None


@pytest.mark.parametrize(
    ("contents", "styles", "options", "said"),
    [
        (["v.mp4", "a"], ["s/x.jpg"], {}, "v.mp4: a video is painted by itself"),
        (["v.mp4"], ["s/x.jpg", "s/y.jpg"], {}, "in the manner of one painting; name one of each"),
        (["v.mp4"], ["s"], {}, "one painting"),
        (["v.mp4"], ["s/x.jpg"], {"refine": 3}, "--refine 3: refines pictures"),
        (["v.mp4"], ["s/x.jpg"], {"out": Path("v.gif")}, "v.gif: videos are written as .mp4, .mkv, not .gif"),
        (["v.mp4"], ["s/x.jpg"], {"out": Path("there.mp4")}, "there.mp4: exists already; give --force"),
    ],
)
def test_what_no_video_can_have_is_refused(
    contents: list[str], styles: list[str], options: dict[str, Any], said: str
) -> None:
    Path("there.mp4").touch()
    with pytest.raises(UserError, match=re.escape(said)):
        find_clip(contents, styles, **{"out": Path("out"), **options})
    assert find_clip(["v.mp4"], ["s/x.jpg"], Path("there.mp4"), force=True) is not None
