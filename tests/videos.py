"""Small real videos for tests."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from quantart.images.arrays import Picture, resize
from quantart.images.decode import read_image

from .conftest import SAMPLE

RATE = 10  # pictures per second


def corner() -> Picture:
    """`(64, 96, 3)`, orange with a blue corner at the top left."""
    picture = np.full((64, 96, 3), (220, 120, 40), np.uint8)
    picture[:24, :32] = (30, 60, 200)
    return picture


def noisy_clip(count: int, noise: float = 4.0) -> tuple[list[Picture], Any]:
    """A photograph that stands still, in it a square through which another one moves, and a camera's noise on both.

    Also the mask `(h, w)` of what stands still.
    """
    draw = np.random.default_rng(0)
    back, other = (read_image(SAMPLE / f"photos/{name}.jpg", max_pixels=10**8) for name in ("lighthouse", "rooster"))
    back, other = resize(back, 128, 192), resize(other, 160, 160)
    still = np.ones((128, 192), bool)
    still[32:96, 64:128] = False
    pictures = []
    for number in range(count):
        place, side = 2 * number % 64, 64 + number % 32
        clean = back.astype(float)
        clean[32:96, 64:128] = resize(other[place : place + side, place : place + side], 64, 64)
        pictures.append((clean + draw.normal(0, noise, clean.shape)).round().clip(0, 255).astype(np.uint8))
    return pictures, still


def write_video(
    file: Path, pictures: Sequence[Picture], times: Sequence[int] | None = None, *, sound: str | None = "aac"
) -> Path:
    """Write them as H.264, at `times` in units of 1 / `RATE` seconds, with two seconds of a tone."""
    import av

    with av.open(str(file), "w") as output:
        video: Any = output.add_stream("libx264", rate=RATE, options={"crf": "6"})
        video.height, video.width = pictures[0].shape[:2]
        video.time_base = video.codec_context.time_base = Fraction(1, RATE)
        for what in ("colorspace", "color_primaries", "color_trc", "color_range"):
            setattr(video.codec_context, what, 1)
        audio: Any = output.add_stream(sound, rate=8000) if sound else None
        for time, picture in zip(times or range(len(pictures)), pictures, strict=True):
            frame = av.VideoFrame.from_ndarray(picture, "rgb24").reformat(format="yuv420p", dst_colorspace="ITU709")
            frame.pts, frame.time_base = time, Fraction(1, RATE)
            output.mux(video.encode(frame))
        output.mux(video.encode(None))
        if audio:
            tone = (np.sin(np.arange(16000) / 5) * 9000).astype(np.int16)
            frame = av.AudioFrame.from_ndarray(tone[None], format="s16", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = 8000, 0, Fraction(1, 8000)
            output.mux(audio.encode(frame))
            output.mux(audio.encode(None))
    return file
