"""A video on disk to a painted video on disk, which goes on where it was stopped."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain, islice
from pathlib import Path
from typing import Any

from quantart.errors import UserError
from quantart.images.arrays import Picture
from quantart.images.decode import ImageError, named, read_image
from quantart.images.video import Frame, Video, check_sound, frames, join, probe, write_part
from quantart.machine.claim import claimed
from quantart.machine.disk import writing
from quantart.machine.progress import progress
from quantart.machine.whole import remove, whole_folder, write_whole
from quantart.models.alpha_beta import Fidelity
from quantart.stylize.cache import content_hash
from quantart.stylize.hold import Hold
from quantart.stylize.painter import Painter
from quantart.stylize.plan import Clip
from quantart.stylize.sizes import MAX_PIXELS

PART = 24  # pictures, at most, that are painted again after a stop
PICTURES, STATE, SOURCE = "pictures.nut", "hold.npz", "source"  # in each part, and beside the parts

Paint = Callable[[Picture, Hold | None], Picture]


def stylize_clip(clip: Clip, painter: Painter[Any, Any], fidelity: Fidelity, *, size: int | None = None) -> Path:
    """Paint each picture of a video, hold what does not change (see `Hold`), and keep the times and the sound.

    A hidden folder beside the output keeps what is painted so far, from where a further call with the same video,
    painting, networks and settings goes on. The output appears when it is whole.

    Raises:
        UserError: the video or the painting can't be used, or nothing can be written there.
    """
    video = probe(clip.video, MAX_PIXELS)
    check_sound(video, clip.output.suffix.lower())
    style = painter.seen_of(read_image(clip.style, max_pixels=MAX_PIXELS))

    def paint(picture: Picture, hold: Hold | None) -> Picture:
        with named(clip.video):
            painted = painter.paint(picture, style, fidelity, size, hold=hold)
        height, width = painted.shape[:2]
        return painted[: height // 2 * 2, : width // 2 * 2]  # a video's sides must be even

    folder = clip.output.with_name(f".{clip.output.name}.partial")
    again = "make room, then run the command again: it goes on"
    with writing(str(clip.output), clip.video.stat().st_size, clip.output.parent, lambda: again):
        folder.mkdir(parents=True, exist_ok=True)
        with claimed(folder / "painting") as ours:
            if not ours:
                raise UserError(f"{clip.output}: another process paints it")
            joined = folder / f"joined{clip.output.suffix}"
            join(joined, _parts(folder, video, paint), video, clip.output.suffix.lower())
            joined.replace(clip.output)
        remove(folder)
    return clip.output


def _parts(folder: Path, video: Video, paint: Paint) -> list[Path]:
    """The videos of up to `PART` pictures each; those that an earlier call left in `folder` are taken as they are."""
    pictures = frames(video, MAX_PIXELS)
    if (first := next(pictures, None)) is None:
        raise ImageError(f"{video.file}: holds no pictures")
    # the first painted picture stands for the networks, the painting and the settings
    source = f"{video} {video.file.stat().st_mtime_ns} {content_hash(paint(first.picture, None))}".encode()
    if not (folder / SOURCE).is_file() or (folder / SOURCE).read_bytes() != source:
        for old in folder.glob("[0-9]*"):
            remove(old)
        write_whole(folder / SOURCE, source)
    parts = sorted(folder.glob("[0-9]*"))
    hold = Hold()
    if parts:
        hold.restore(parts[-1] / STATE)
    done = len(parts) * PART
    left = islice(chain([first], pictures), done, None)
    painted = (
        Frame(frame.time, paint(frame.picture, hold)) for frame in progress(left, max(1, video.frames - done), "video")
    )
    for frame in painted:
        with whole_folder(folder / f"{len(parts):06}") as part:
            write_part(part / PICTURES, chain([frame], islice(painted, PART - 1)), video)
            hold.save(part / STATE)
        parts.append(folder / f"{len(parts):06}")
    return [part / PICTURES for part in parts]
