"""What a run logged and the tracking store does not have yet, kept on disk.

Each run has a folder `.quantart/spool/<local id>/`. It holds one numbered file for each thing that was logged, `files/`
with the pictures and artifacts that these name, and `state.json` with the store's address and the run's id there. What
was delivered is removed; the folder goes with the run's end.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import BaseFileLock, FileLock

from quantart.errors import UserError
from quantart.machine.whole import write_whole
from quantart.tracking.store import absolute_address, relative_address

FOLDER = Path(".quantart/spool")
START, METRICS, ARTIFACT, TAGS, END = "start", "metrics", "artifact", "tags", "end"
"""Kinds of events: the first begins a run, the last ends it."""
_LOCAL_ID = re.compile(r"local-\d{20}-[0-9a-f]{8}")
_STATE, _FILES, _LOCK = "state.json", "files", "lock"


def now() -> int:
    """Milliseconds since 1970, as MLflow counts."""
    return int(time.time() * 1000)


def is_local_id(run_id: str) -> bool:
    """Whether this project made up the id, because no tracking server was there to give one."""
    return _LOCAL_ID.fullmatch(run_id) is not None


class Spool:
    """The undelivered events of one run. Whoever writes or delivers it holds `lock`; any thread may append."""

    address: str
    run_id: str | None

    def __init__(self, folder: Path, lock: BaseFileLock | None = None) -> None:
        self.folder = folder
        self.lock = lock or FileLock(folder / _LOCK, thread_local=False)
        self._appending = threading.Lock()
        self._appended = 0
        self._read()

    @classmethod
    def create(cls, root: Path, address: str, *, local_id: str | None = None, run_id: str | None = None) -> Spool:
        """A new spool, empty and locked, for a run of the store at `address`.

        The run may have an id of the store already, or a local id; a new local id contains the time.
        """
        name = local_id or f"local-{datetime.now(UTC):%Y%m%d%H%M%S%f}-{secrets.token_hex(4)}"
        folder = root / FOLDER / name
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / _LOCK, thread_local=False)
        lock.acquire()  # before the state is written, which is what makes the spool visible to other processes
        _write_state(folder, address, run_id)
        return cls(folder, lock)

    @property
    def local_id(self) -> str:
        return self.folder.name

    def take(self, wait: float) -> bool:
        """Lock what a process that has ended left; False, without the lock, if it was delivered meanwhile.

        Raises:
            filelock.Timeout: another process still holds it after `wait` seconds.
        """
        self.lock.acquire(timeout=wait)
        if self.exists():
            self._read()
            return True
        self.remove()  # taking the lock made the folder again
        self.lock.release()
        return False

    def exists(self) -> bool:
        return (self.folder / _STATE).is_file()

    def append(self, kind: str, **values: Any) -> None:
        """Add an event, whole or not at all; a `UserError` says why it can't be written, e.g. to a full disk."""
        with self._appending:
            data = json.dumps({"kind": kind, **values}).encode()
            write_whole(self.folder / f"{self._appended + 1:010d}.json", data)
            self._appended += 1

    def events(self) -> list[Path]:
        """The files of the undelivered events, in order."""
        return sorted(self.folder.glob("[0-9]*.json"))

    def new_folder(self) -> Path:
        """An empty folder, to whose name an event refers."""
        folder = self.kept(secrets.token_hex(8))
        folder.mkdir(parents=True)
        return folder

    def keep(self, path: Path) -> str:
        """Keep a file or folder as it is now, and return the name by which an event refers to it.

        Files are hard-linked where possible, which is safe because a project replaces its files, never edits them.
        """
        try:
            kept = self.new_folder()
            if path.is_dir():
                shutil.copytree(path, kept, copy_function=_link, dirs_exist_ok=True)
            else:
                _link(path, kept / path.name)
        except OSError as error:
            raise UserError(f"{path} cannot be kept in {self.folder}: {error.strerror or error}") from error
        return kept.name

    def kept(self, name: str) -> Path:
        return self.folder / _FILES / name

    def found(self, run_id: str) -> None:
        """Note the run's id in the store."""
        self.run_id = run_id
        _write_state(self.folder, self.address, run_id)

    def remove(self) -> None:
        (self.folder / _STATE).unlink(missing_ok=True)  # first: without it there is no spool
        shutil.rmtree(self.folder, ignore_errors=True)

    def _read(self) -> None:
        state = json.loads((self.folder / _STATE).read_text(encoding="utf8"))
        self.address, self.run_id = absolute_address(state["address"], self.folder.parents[2]), state["run_id"]
        self._appended = max((int(path.stem) for path in self.events()), default=0)


def find_spools(root: Path, address: str | None = None) -> list[Spool]:
    """The spools of a project, oldest first; with `address` only those for that store."""
    found = []
    for state in sorted((root / FOLDER).glob(f"local-*/{_STATE}")):
        try:
            spool = Spool(state.parent)
        except FileNotFoundError:  # delivered and removed at this moment
            continue
        if address in (None, spool.address):
            found.append(spool)
    return found


def _link(source: str | Path, target: str | Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without links
        shutil.copy2(source, target)


def _write_state(folder: Path, address: str, run_id: str | None) -> None:
    kept = relative_address(address, folder.parents[2])  # the project may be moved before everything is delivered
    write_whole(folder / _STATE, json.dumps({"address": kept, "run_id": run_id}).encode())
