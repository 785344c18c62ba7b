"""Videos: the one place where untrusted ones become pictures, and how painted pictures become a video.

Needs the extra `video`; import this module only where there is a video.
"""

from __future__ import annotations

import heapq
import io
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from quantart.errors import UserError, one_line
from quantart.images.arrays import Picture
from quantart.images.decode import named
from quantart.images.fault import ImageError, TooLargeError
from quantart.machine.disk import FULL
from quantart.vocabulary.pictures import WRITTEN_VIDEOS

try:
    import av
except ModuleNotFoundError as missing:
    raise UserError("av: not installed", "`pip install 'quantart[video]'` installs what videos need") from missing

# no lists of further files: what they name would be opened too
CONTAINERS = "mov,matroska,avi,mpegts,gif"
BETWEEN = "nut"  # for parts: it keeps each time as it is
BT709 = 1  # what players take colours for that say nothing else
QUALITY = {
    "crf": "18",
    "bf": "0",  # no frame refers to a later one, so that parts follow each other
    "mbtree": "0",  # with it, about 1 of 100 encodings of the same pictures has other bytes
}


class Frame(NamedTuple):
    """One picture of a video."""

    time: int  # in units of the video's `unit`, from wherever it begins
    picture: Picture


class Video(NamedTuple):
    """What its header says."""

    file: Path
    frames: int  # at least 1, perhaps an estimate
    rate: Fraction | None  # pictures per second, on average
    unit: Fraction  # of times, in seconds
    aspect: Fraction | None  # of a pixel


def probe(file: Path, max_pixels: int) -> Video:
    """Look into a video's header; an `ImageError` says why it can't be used, and begins with the file's name."""
    with _opened(file) as container:
        stream = container.streams.video[0]
        _check_size(stream.width, stream.height, max_pixels)
        rate = stream.average_rate
        seconds = container.duration / av.time_base if container.duration else 0
        count = stream.frames or round(seconds * float(rate or 0))
        return Video(file, max(1, count), rate, stream.time_base, stream.sample_aspect_ratio)


def frames(video: Video, max_pixels: int) -> Iterator[Frame]:
    """Its pictures in the order in which they are shown, upright, in sRGB; see `probe` on errors."""
    with _opened(video.file) as container:
        last: int | None = None
        size: tuple[int, int] | None = None
        for decoded in container.decode(container.streams.video[0]):
            _check_size(decoded.width, decoded.height, max_pixels)
            time = decoded.pts if decoded.pts is not None else 0 if last is None else last + 1
            if last is not None and time <= last:
                continue  # shown never
            last, picture = time, _upright(decoded)
            if size not in (None, picture.shape[:2]):
                raise ImageError("its pictures change their size in the middle", "convert it first")
            size = picture.shape[:2]
            yield Frame(time, picture)


def write_part(file: Path, painted: Iterable[Frame], video: Video) -> None:
    """Write pictures of one size, with even sides, as a video without sound, that `join` puts together with others."""
    with av.open(str(file), "w", format=BETWEEN) as output:
        stream: Any = None
        for time, picture in painted:
            if stream is None:
                stream = output.add_stream("libx264", rate=video.rate, options=QUALITY)
                stream.height, stream.width = picture.shape[:2]
                stream.pix_fmt = "yuv420p"
                stream.time_base = stream.codec_context.time_base = video.unit
                if video.aspect:
                    stream.codec_context.sample_aspect_ratio = video.aspect
                for what in ("colorspace", "color_primaries", "color_trc", "color_range"):
                    setattr(stream.codec_context, what, BT709)
            frame = av.VideoFrame.from_ndarray(picture, "rgb24").reformat(format="yuv420p", dst_colorspace="ITU709")
            frame.pts, frame.time_base = time, video.unit
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))


def join(file: Path, parts: Sequence[Path], video: Video, kind: str) -> None:
    """Write the parts one after the other, with the sound of the video, to a new file of a kind in `WRITTEN_VIDEOS`."""
    with ExitStack() as stack, _opened(video.file) as original:
        opened = [stack.enter_context(av.open(str(part))) for part in parts]
        output = stack.enter_context(av.open(str(file), "w", format=WRITTEN_VIDEOS[kind]))
        shown = output.add_stream_from_template(opened[0].streams.video[0])
        heard = {each.index: output.add_stream_from_template(each) for each in original.streams.audio}

        def pictures() -> Iterator[Any]:
            for part in opened:
                yield from _packets(part, {0: shown})

        sound = _packets(original, heard) if heard else iter(())
        for packet in heapq.merge(pictures(), sound, key=lambda packet: packet.dts * packet.time_base):
            output.mux(packet)


def check_sound(video: Video, kind: str) -> None:
    """Raise a `UserError` if a file of that kind can't hold the video's sound as it is."""
    with _opened(video.file) as container:
        try:
            with av.open(io.BytesIO(), "w", format=WRITTEN_VIDEOS[kind]) as trial:
                for stream in container.streams.audio:
                    trial.add_stream_from_template(stream)
                if container.streams.audio:
                    trial.start_encoding()
        except (av.FFmpegError, ValueError):
            sound = ", ".join(stream.codec_context.name for stream in container.streams.audio)
            raise UserError(
                f"{video.file}: its sound ({sound}) has no place in a {kind}", "give --out NAME.mkv"
            ) from None


def _packets(container: Any, to: dict[int, Any]) -> Iterator[Any]:
    for packet in container.demux([container.streams[index] for index in to]):
        if packet.dts is not None:  # the last one is empty
            packet.stream = to[packet.stream_index]
            yield packet


@contextmanager
def _opened(file: Path) -> Iterator[Any]:
    """The container; whatever goes wrong with it until it is closed becomes an `ImageError`."""
    with named(file):
        try:
            if not stat.S_ISREG(file.stat().st_mode):
                raise ImageError("not a regular file")
            with (
                file.open("rb") as data,
                av.open(data, container_options={"format_whitelist": CONTAINERS}, io_open=_nothing_else) as container,
            ):
                if not container.streams.video:
                    raise ImageError("holds no pictures")
                yield container
        except (av.FFmpegError, OSError) as error:
            if getattr(error, "errno", None) in FULL:  # of the disk that is written to
                raise
            raise ImageError(f"broken video, or of an unknown kind: {error.strerror or one_line(error)}") from error


def _nothing_else(url: str, *_: object) -> Any:
    raise OSError(f"names another file, {url}")


def _check_size(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise TooLargeError(f"too large: {width} × {height} pixels, the limit is {max_pixels} pixels", "scale it down")


def _upright(frame: Any) -> Picture:
    turns = round(frame.rotation / 90)
    if not any(component.is_alpha for component in frame.format.components):
        return np.ascontiguousarray(np.rot90(frame.to_ndarray(format="rgb24"), turns))
    pixels = frame.to_ndarray(format="rgba").astype(np.uint16)
    opaque = pixels[..., 3:]
    on_white = (pixels[..., :3] * opaque + 255 * (255 - opaque) + 127) // 255
    return np.ascontiguousarray(np.rot90(on_white.astype(np.uint8), turns))
