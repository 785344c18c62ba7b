"""Several processes that make files in one folder: each file is made by one of them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from quantart.errors import UserError


@contextmanager
def claimed(path: Path) -> Iterator[bool]:
    """Whether this process is to make the file `path`: it is not there, and no other process is making it.

    The claim is a lock on a hidden file beside it, which ends with the process, however that ends.

    Raises:
        UserError: nothing can be written there.
    """
    lock = FileLock(path.with_name(f".{path.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        yield False
        return
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror or error}") from error
    try:
        # asked under the lock: whoever held it before has made the file by now
        yield not os.path.lexists(path)
    finally:
        Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()
