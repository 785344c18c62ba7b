"""Shards written by a Ray cluster, whose machines share the folders of the pictures and of the project.

Needs the extra `ray`; import this module only where an address of a cluster is given.
"""

from __future__ import annotations

import logging
import platform
import socket
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from quantart.data.files import PictureFile
from quantart.errors import UserError, one_line

try:
    import ray
    from ray.exceptions import RayError, RayTaskError
except ModuleNotFoundError as missing:
    raise UserError("ray: not installed", "`pip install 'quantart[ray]'` installs it") from missing


def map_on_ray(
    address: str, write: Callable[[int, Sequence[PictureFile]], int], parts: Sequence[Sequence[PictureFile]]
) -> Iterator[int]:
    """Yield `write(number, part)` of each part, as they end; what a dead worker was at is given to another.

    Raises:
        UserError: no cluster at the address, a machine without the pictures, or workers that die again and again.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        if port.isdecimal():  # Ray waits for minutes where nothing answers
            socket.create_connection((host, int(port)), timeout=10).close()
        ray.init(address, logging_level=logging.WARNING)
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(f"--ray {address}: {one_line(error)}", "start a cluster with `ray start --head`") from error
    try:
        task = ray.remote(_write)
        seen = [next((file.path for file in part if file.path.exists()), None) for part in parts]
        waiting = [task.remote(write, number, *each) for number, each in enumerate(zip(parts, seen, strict=True))]
        while waiting:
            done, waiting = ray.wait(waiting)
            yield from ray.get(done)
    except RayError as error:
        reason = error.cause if isinstance(error, RayTaskError) else error
        raise UserError(f"--ray {address}: {one_line(reason)}", "run it again, it goes on from there") from error
    finally:
        ray.shutdown()


def _write(
    write: Callable[[int, Sequence[PictureFile]], int], number: int, part: Sequence[PictureFile], seen: Path | None
) -> int:
    if seen is not None and not seen.exists():  # else all of them would be taken for rejected pictures
        raise FileNotFoundError(f"{platform.node()} does not see {seen}: all machines must share the folder")
    return write(number, part)
