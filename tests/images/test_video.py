"""Videos are read as they are shown, written so that players show the same, and never trusted."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("av", reason="videos need PyAV: pip install 'quantart[video]'")
import av
from PIL import Image

from quantart.errors import UserError
from quantart.images.decode import ImageError
from quantart.images.video import Frame, check_sound, frames, join, probe, write_part

from ..videos import RATE, corner, write_video

MOST = 10**6


def shown(file: Path) -> list[Frame]:
    return list(frames(probe(file, MOST), MOST))


def test_pictures_colours_times_and_sound_survive(tmp_path: Path) -> None:
    times = [0, 1, 2, 5, 6, 9]  # a phone's: not evenly spaced
    original = write_video(tmp_path / "a.mp4", [corner() for _ in times], times)
    video = probe(original, MOST)
    assert (video.frames, video.unit * round(1 / video.unit / RATE) * RATE) == (len(times), 1)
    read = shown(original)
    assert np.abs(read[0].picture.astype(int) - corner()).mean() < 2
    for number, part in enumerate((read[:4], read[4:])):
        write_part(tmp_path / f"{number}.nut", part, video)
    for kind in (".mp4", ".mkv"):
        join(joined := tmp_path / f"joined{kind}", [tmp_path / "0.nut", tmp_path / "1.nut"], video, kind)
        again, unit = shown(joined), probe(joined, MOST).unit
        assert [float((frame.time - again[0].time) * unit * RATE) for frame in again] == pytest.approx(times, abs=0.02)
        assert all(np.abs(frame.picture.astype(int) - corner()).mean() < 4.5 for frame in again)
        with av.open(str(original)) as one, av.open(str(joined)) as other:
            packets = [[bytes(p) for p in each.demux(audio=0) if p.size] for each in (one, other)]
        assert packets[0] == packets[1]
        assert len(packets[0]) > 10


def test_a_phones_video_is_turned_upright(tmp_path: Path) -> None:
    data = bytearray(write_video(tmp_path / "a.mp4", [corner()], sound=None).read_bytes())
    matrix = data.index(b"tkhd") + 44
    data[matrix : matrix + 36] = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)  # clockwise
    (tmp_path / "turned.mp4").write_bytes(data)
    (frame,) = shown(tmp_path / "turned.mp4")
    assert np.abs(frame.picture.astype(int) - np.rot90(corner(), -1)).mean() < 2


def test_a_gif_is_laid_on_white(tmp_path: Path) -> None:
    pictures = [Image.new("RGBA", (32, 32), colour) for colour in ((0, 0, 0, 0), (200, 0, 0, 255), (0, 0, 200, 255))]
    pictures[0].save(
        tmp_path / "a.gif", save_all=True, append_images=pictures[1:], duration=[100, 200, 100], disposal=2
    )
    first, second, third = shown(tmp_path / "a.gif")
    assert [frame.picture[5, 5].tolist() for frame in (first, second, third)] == [[255] * 3, [200, 0, 0], [0, 0, 200]]
    assert third.time - second.time == 2 * (second.time - first.time)


def test_what_is_no_video_is_a_sentence(tmp_path: Path) -> None:
    good = write_video(tmp_path / "good.mp4", [corner()] * 12)
    (tmp_path / "text.mp4").write_text("no video")
    (tmp_path / "list.mp4").write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{good}\n#EXT-X-ENDLIST\n")
    (tmp_path / "concat.mp4").write_text(f"ffconcat version 1.0\nfile {good}\n")
    (tmp_path / "cut.mp4").write_bytes(good.read_bytes()[:700])
    for name in ("text.mp4", "list.mp4", "concat.mp4", "cut.mp4", "missing.mp4"):
        with pytest.raises(ImageError, match=f"{name}: broken video, or of an unknown kind: "):
            shown(tmp_path / name)
    with pytest.raises(ImageError, match="not a regular file"):
        probe(tmp_path, MOST)
    with pytest.raises(ImageError, match=r"good\.mp4: too large: 96 × 64 pixels, the limit is 6000"):
        probe(good, 6000)


def test_sound_that_does_not_fit_is_told_before(tmp_path: Path) -> None:
    video = probe(write_video(tmp_path / "a.mkv", [corner()], sound="pcm_u8"), MOST)
    with pytest.raises(UserError, match=r"a\.mkv: its sound \(pcm_u8\) has no place in a \.mp4; give --out NAME\.mkv"):
        check_sound(video, ".mp4")
    check_sound(video, ".mkv")
