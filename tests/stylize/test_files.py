"""Stylising files with the networks of a project, a folder or the registry."""

from __future__ import annotations

import os
import shutil
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import numpy as np
import pytest
from PIL import Image

from quantart.errors import StoppedBySignal, UserError
from quantart.images.arrays import Picture, write_image
from quantart.images.decode import read_image
from quantart.models.fidelity import FidelityControl
from quantart.project import Project
from quantart.stylize.choose import Chosen, chosen_painter
from quantart.stylize.files import Stylized, stylize_files
from quantart.stylize.graph_painter import GraphPainter
from quantart.stylize.plan import make_plan
from quantart.stylize.stylizer import Stylizer
from quantart.vocabulary.names import VARIANTS

from ..models.networks import save_control

ROOT = Path(__file__).parents[2]


@pytest.fixture
def project(tmp_path: Path, control: FidelityControl) -> Project:
    """With both variants trained."""
    shutil.copy(ROOT / "params.yaml", tmp_path)
    project = Project(tmp_path)
    for variant, folder in save_control(control, tmp_path).items():
        project.stage2_model(variant).parent.mkdir(exist_ok=True)
        folder.rename(project.stage2_model(variant))
    return project


@pytest.fixture
def files(tmp_path: Path, noise: Picture) -> tuple[Path, Path]:
    """A photograph and a painting on disk."""
    photo, painting = tmp_path / "photo.png", tmp_path / "painting.png"
    write_image(photo, noise)
    write_image(painting, 255 - noise // 2)
    return photo, painting


def painted(files: tuple[Path, Path], chosen: Chosen) -> Picture:
    out = files[0].with_name("out.png")
    stylize_files(make_plan([str(files[0])], [str(files[1])], out, force=True), *chosen)
    return read_image(out, max_pixels=10**6)


def expected(files: tuple[Path, Path], control: FidelityControl, alpha: float, beta: float = 1.0) -> Picture:
    photo, painting = (read_image(file, max_pixels=10**6) for file in files)
    return Stylizer(control).stylize(photo, painting, alpha, beta)


@pytest.mark.parametrize(("alpha", "beta"), [(0.5, 0.5), (1.0, 1.0), (0.0, 1.0)])
def test_a_project_uses_both_of_its_variants(
    alpha: float, beta: float, project: Project, files: tuple[Path, Path], control: FidelityControl
) -> None:
    image = painted(files, chosen_painter(project, [], alpha, beta))
    assert np.array_equal(image, expected(files, control, alpha, beta))


def test_by_default_a_project_paints_with_the_variant_it_exports(project: Project) -> None:
    assert chosen_painter(project, [], None)[1].variants == ("discrete",)
    path = project.root / "params.yaml"
    path.write_text(path.read_text().replace("variant: discrete", "variant: continuous"))
    assert chosen_painter(project, [], None)[1].variants == ("continuous",)


def test_where_one_variant_is_trained_it_fixes_alpha(project: Project) -> None:
    shutil.rmtree(project.stage2_model("discrete"))
    assert chosen_painter(project, [], None)[1].variants == ("continuous",)
    with pytest.raises(UserError, match=r"^alpha = 0\.5: .*discrete"):
        chosen_painter(project, [], 0.5)


def test_without_a_trained_network_the_one_that_comes_with_the_package_paints(
    project: Project, caplog: pytest.LogCaptureFixture
) -> None:
    for variant in VARIANTS:
        shutil.rmtree(project.stage2_model(variant))
    caplog.set_level("INFO")
    for at, why in {project: f"nothing is trained in {project.root} yet", None: "no project here"}.items():
        painter, fidelity = chosen_painter(at, [], None)
        assert caplog.messages[-1].startswith(f"{why}: painting with quantart/open")
        assert (fidelity.alpha, type(painter)) == (1.0, GraphPainter)
    assert chosen_painter(None, [], 0.5)[1].alpha == 0.5


def test_a_folder_of_one_network_fixes_alpha(
    project: Project, files: tuple[Path, Path], control: FidelityControl
) -> None:
    folder = str(project.stage2_model("continuous"))
    assert np.array_equal(painted(files, chosen_painter(None, [folder], None)), expected(files, control, 0.0))
    with pytest.raises(UserError, match=r"^alpha = 1: .*discrete"):
        painted(files, chosen_painter(None, [folder], 1.0))


def test_two_folders_are_mixed(project: Project, files: tuple[Path, Path], control: FidelityControl) -> None:
    both = [str(project.stage2_model(variant)) for variant in ("continuous", "discrete")]
    assert np.array_equal(painted(files, chosen_painter(None, both, 0.25)), expected(files, control, 0.25))
    assert np.array_equal(painted(files, chosen_painter(None, both, None)), expected(files, control, 1.0))
    with pytest.raises(UserError, match="2 .*continuous"):
        painted(files, chosen_painter(None, [both[0], both[0]], 0.5))
    with pytest.raises(UserError, match="--model .*: 3 "):
        chosen_painter(None, [*both, both[0]], 0.5)


def test_a_wrong_beta_leaves_nothing_behind(project: Project, files: tuple[Path, Path]) -> None:
    with pytest.raises(UserError, match=r"^beta = 2\.0: "):
        painted(files, chosen_painter(project, [], None, 2.0))
    assert not files[0].with_name("out.png").exists()


@pytest.fixture
def photos(tmp_path: Path, noise: Picture) -> Path:
    """A folder with one picture on its side, one half transparent, one broken and one too small."""
    folder = tmp_path / "photos"
    folder.mkdir()
    turned = Image.fromarray(noise)
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(folder / "turned.png", exif=exif)
    see_through = np.dstack([noise, np.zeros(noise.shape[:2], np.uint8)])
    Image.fromarray(see_through).save(folder / "glass.png")
    (folder / "broken.jpg").write_bytes(b"no picture")
    write_image(folder / "small.png", noise[:20])
    return folder


def test_what_cannot_be_used_is_named_and_all_others_are_painted(
    photos: Path,
    project: Project,
    files: tuple[Path, Path],
    control: FidelityControl,
    noise: Picture,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "new" / "folder"
    plan = make_plan([str(photos)], [str(files[0]), str(files[1]), str(photos / "broken.jpg")], out)
    capsys.readouterr()
    done = stylize_files(plan, *chosen_painter(project, [], None), size=64)
    assert capsys.readouterr().err.splitlines()[-1] == "stylize: 8 of 8"  # of the usable styles
    assert [error.fault.partition(": ")[0] for error in done.skipped] == [
        str(photos / name) for name in ("broken.jpg", "small.png")
    ]
    assert done.skipped[1].fault.endswith("small.png: 40 × 20 pixels")
    assert sorted(path.name for path in out.iterdir()) == [
        "glass_painting.png",
        "glass_photo.png",
        "grid.png",
        "turned_painting.png",
        "turned_photo.png",
    ]
    assert set(done.written) == set(out.iterdir())
    assert (len(done.written), done.grids) == (5, 1)
    assert done.summary.endswith(f" in {out}")
    stylizer = Stylizer(control)
    painted = {name: read_image(out / f"{name}_photo.png", max_pixels=10**6) for name in ("turned", "glass")}
    assert np.array_equal(painted["turned"], stylizer.stylize(np.rot90(noise, -1).copy(), noise, size=64))
    assert np.array_equal(painted["glass"], stylizer.stylize(np.full_like(noise, 255), noise, size=64))
    grid = read_image(out / "grid.png", max_pixels=10**7)
    columns = 3 * (192 + 4)  # the contents and the two styles that can be used
    assert columns < grid.shape[1] < columns + 100  # and the contents' names
    assert grid[-2 * 192 :, : grid.shape[1] - columns].min() == 0
    assert 3 * (192 + 4) <= grid.shape[0] < 4 * (192 + 4)  # styles, and the two contents that can be used


def test_pictures_of_todays_phones_are_within_the_limit(
    project: Project, files: tuple[Path, Path], tmp_path: Path
) -> None:
    phone = tmp_path / "phone.png"
    Image.new("1", (16_320, 12_240)).save(phone, compress_level=1)
    os.truncate(phone, 60)  # its pixels would take a second
    plan = make_plan([str(phone)], [str(files[1])], tmp_path / "out.png")
    (skipped,) = stylize_files(plan, *chosen_painter(project, [], None), size=64).skipped
    assert skipped.fault.startswith(f"{phone}: broken picture: ")


def test_what_no_picture_can_be_stops_before_any_work(project: Project, files: tuple[Path, Path]) -> None:
    plan = make_plan([str(files[0])], [str(files[1])], files[0].with_name("out"))
    with pytest.raises(UserError, match="^size = 10: "):
        stylize_files(plan, *chosen_painter(project, [], None), size=10)
    assert not files[0].with_name("out").exists()


def test_a_place_where_nothing_can_be_made_is_named(project: Project, files: tuple[Path, Path]) -> None:
    plan = make_plan([str(files[0])], [str(files[1])], files[0] / "out")
    with pytest.raises(UserError) as refused:
        stylize_files(plan, *chosen_painter(project, [], None))
    assert refused.value.fault.startswith(f"{files[0] / 'out'}: ")


@pytest.fixture
def album(tmp_path: Path, noise: Picture) -> list[str]:
    """A folder with three photographs."""
    (tmp_path / "album").mkdir()
    for number in range(3):
        write_image(tmp_path / "album" / f"{number}.png", np.roll(noise, 7 * number, axis=0))
    return [str(tmp_path / "album")]


def state(folder: Path) -> dict[str, tuple[int, bytes]]:
    """When each file was written, and what is in it."""
    return {file.name: (file.stat().st_mtime_ns, file.read_bytes()) for file in sorted(folder.iterdir())}


def test_a_stopped_run_goes_on_and_leaves_what_is_there(
    album: list[str], files: tuple[Path, Path], project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen, out = chosen_painter(project, [], None), tmp_path / "out"
    styles = [str(file) for file in files]
    stylize_files(make_plan(album, styles, tmp_path / "whole"), *chosen)
    paint = Stylizer.paint

    def stopped(self: Stylizer, *arguments: Any) -> Picture:
        if len(list(out.glob("*.png"))) == 3:
            raise KeyboardInterrupt
        return paint(self, *arguments)

    monkeypatch.setattr(Stylizer, "paint", stopped)
    with pytest.raises(KeyboardInterrupt):
        stylize_files(make_plan(album, styles, out, skip_existing=True), *chosen)
    monkeypatch.undo()
    before = state(out)
    assert len(before) == 3  # no grid yet, and no lock or half a picture
    with pytest.raises(UserError) as refused:
        make_plan(album, styles, out)
    assert "--skip-existing" in refused.value.remedy
    done = stylize_files(make_plan(album, styles, out, skip_existing=True), *chosen)
    assert (len(done.written), done.grids, done.kept) == (4, 1, 3)
    assert "3 pictures and a grid in" in done.summary
    assert "; 3 left" in done.summary
    after = state(out)
    assert {name: after[name] for name in before} == before
    whole = {name: data for name, (_, data) in state(tmp_path / "whole").items()}
    assert {name: data for name, (_, data) in after.items()} == whole
    again = stylize_files(make_plan(album, styles, out, skip_existing=True), *chosen)
    assert (again.written, again.kept) == ([], 6)
    assert again.summary.startswith("6 left")
    assert state(out) == after
    (out / "1_photo.png").unlink()  # the grid must show the picture that is painted anew
    anew = stylize_files(make_plan(album, styles, out, skip_existing=True), *chosen)
    assert [file.name for file in anew.written] == ["1_photo.png", "grid.png"]


def test_those_who_share_a_folder_paint_each_picture_once(
    album: list[str], files: tuple[Path, Path], project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen, out = chosen_painter(project, [], None), tmp_path / "out"
    both, paint, counted = Barrier(2, timeout=60), Stylizer.paint, []

    def together(self: Stylizer, *arguments: Any) -> Picture:
        counted.append(1)
        if len(counted) <= 2:  # both are at work on their first picture
            both.wait()
        return paint(self, *arguments)

    monkeypatch.setattr(Stylizer, "paint", together)

    def work() -> Stylized:
        plan = make_plan(album, [str(file) for file in files], out, skip_existing=True)
        return stylize_files(plan, *chosen)

    with ThreadPoolExecutor(2) as pool:
        done = [future.result() for future in [pool.submit(work), pool.submit(work)]]
    painted = [path.name for each in done for path in each.written if path.name != "grid.png"]
    assert len(counted) == len(painted) == len(set(painted)) == 6
    assert sorted(file.name for file in out.iterdir()) == sorted({*painted, "grid.png"})
    assert all(each.written for each in done)


def test_a_signal_while_refining_keeps_the_best_so_far(
    album: list[str],
    files: tuple[Path, Path],
    project: Project,
    control: FidelityControl,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out, paint = tmp_path / "out", Stylizer.paint

    def interrupted(self: Stylizer, *arguments: Any) -> Picture:
        *others, steps = arguments

        def go_on() -> bool:
            if more := steps():
                os.kill(os.getpid(), signal.SIGINT)  # in the middle of the first step
            return bool(more)

        return paint(self, *others, go_on)

    monkeypatch.setattr(Stylizer, "paint", interrupted)
    plan, chosen = make_plan(album, [str(files[1])], out), chosen_painter(project, [], None)
    with pytest.raises(StoppedBySignal) as stopped:
        stylize_files(plan, *chosen, refine=3)
    assert stopped.value.exit_code == 130
    (written,) = out.iterdir()
    left = "--skip-existing goes on with the other 2"
    assert str(stopped.value) == (
        f"stopped by SIGINT: {written} is the best so far, after 1 of 3 steps of refining; {left}"
    )
    photo, painting = (read_image(file, max_pixels=10**6) for file in (plan.contents[0], files[1]))
    once = paint(Stylizer(control), photo, painting, chosen[1], None, 1)
    assert np.array_equal(read_image(written, max_pixels=10**6), once)


@pytest.mark.slow
def test_folders_are_refined_alike_each_time_and_what_is_too_large_is_named(
    album: list[str], files: tuple[Path, Path], project: Project, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen, style = chosen_painter(project, [], None), [str(files[1])]
    write_image(tmp_path / "album" / "wide.png", np.zeros((64, 64 * 129, 3), np.uint8))
    for name in ("one", "two"):
        done = stylize_files(make_plan(album, style, tmp_path / name), *chosen, refine=2)
        assert [error.fault for error in done.skipped] == [f"{tmp_path / 'album' / 'wide.png'}: 8256 × 64 pixels"]
        assert len(done.written) == 3
    assert capsys.readouterr().err.splitlines()[-1] == "refine: 8 of 8"
    first, second = ([data for _, data in state(tmp_path / name).values()] for name in ("one", "two"))
    assert first == second
    stylize_files(make_plan(album, style, tmp_path / "not"), *chosen)
    assert not {data for _, data in state(tmp_path / "not").values()} & set(first)
    for steps in (-1, 10**5):
        with pytest.raises(UserError, match=f"^refine = {steps}: .* 0 to 10000"):
            stylize_files(make_plan(album, style, tmp_path / "none"), *chosen, refine=steps)
    assert not (tmp_path / "none").exists()
