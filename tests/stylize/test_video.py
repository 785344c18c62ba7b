"""A painted video: still where the video is, with its times and sound, and resumed where it was stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("av", reason="videos need PyAV: pip install 'quantart[video]'")

from quantart.errors import UserError
from quantart.images.arrays import Picture
from quantart.images.video import frames, probe
from quantart.models.alpha_beta import Fidelity
from quantart.models.fidelity import FidelityControl
from quantart.stylize import video as module
from quantart.stylize.plan import Clip
from quantart.stylize.stylizer import Stylizer
from quantart.stylize.video import PART, stylize_clip

from ..conftest import SAMPLE
from ..videos import noisy_clip, write_video

STYLE = SAMPLE / "paintings/gauguin_two_women.jpg"
HALF = Fidelity(0.5, 1.0)
COUNT = PART + 6


class Counting(Stylizer):
    """Counts the pictures it paints, and stops as if Ctrl-C came at one of them."""

    painted, last = 0, 10**6

    def paint(self, *given: Any, **options: Any) -> Picture:
        self.painted += 1
        if self.painted > self.last:
            raise KeyboardInterrupt
        return super().paint(*given, **options)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("clip") / "clip.mp4", noisy_clip(COUNT)[0])


def pictures_of(file: Path) -> list[Picture]:
    return [frame.picture for frame in frames(probe(file, 10**6), 10**6)]


def test_a_stopped_one_goes_on_and_is_the_same(clip: Path, control: FidelityControl, tmp_path: Path) -> None:
    whole = stylize_clip(Clip(clip, STYLE, tmp_path / "whole.mp4"), Stylizer(control), HALF, size=96)
    stopped, painter = Clip(clip, STYLE, tmp_path / "stopped.mp4"), Counting(control)
    painter.last = 1 + PART + 3
    with pytest.raises(KeyboardInterrupt):
        stylize_clip(stopped, painter, HALF, size=96)
    assert not stopped.output.exists()
    rest = Counting(control)
    stylize_clip(stopped, rest, HALF, size=96)
    assert rest.painted == 1 + COUNT - PART
    for one, other in zip(pictures_of(whole), pictures_of(stopped.output), strict=True):
        np.testing.assert_array_equal(one, other)
    assert {file.name for file in tmp_path.iterdir()} == {"whole.mp4", "stopped.mp4"}
    assert [picture.shape for picture in pictures_of(whole)] == [(64, 96, 3)] * COUNT


def test_other_settings_begin_anew(clip: Path, control: FidelityControl, tmp_path: Path) -> None:
    painter = Counting(control)
    painter.last = 1 + PART + 1
    one = Clip(clip, STYLE, tmp_path / "a.mp4")
    with pytest.raises(KeyboardInterrupt):
        stylize_clip(one, painter, HALF, size=64)
    again = Counting(control)
    stylize_clip(one, again, Fidelity(1.0, 1.0), size=64)
    assert again.painted == 1 + COUNT


def test_a_disk_that_is_full_leaves_nothing_half(
    clip: Path, control: FidelityControl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "write_part", full)
    with pytest.raises(UserError, match=r"a\.mp4 .*make room, .*it goes on"):
        stylize_clip(Clip(clip, STYLE, tmp_path / "a.mp4"), Stylizer(control), HALF, size=64)
    assert not (tmp_path / "a.mp4").exists()
