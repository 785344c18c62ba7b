"""What a run logged and the tracking store does not have yet, on disk: nothing is lost with a server or a process.

`.quantart/spool/<local id>/` holds one run's `events.jsonl`, to which each thing that is logged adds a line; `files/`
with the pictures and artifacts that lines name; and `state.json`: the store's address, the run's id there, and up to
which byte the lines have been delivered. A process that is killed leaves at worst half a line, which is dropped.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import threading
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import BaseFileLock, FileLock

from quantart.errors import UserError

FOLDER = Path(".quantart/spool")
_LOCAL_ID = re.compile(r"local-\d{20}-[0-9a-f]{8}")
_STATE, _EVENTS, _FILES, _LOCK = "state.json", "events.jsonl", "files", "lock"


def is_local_id(run_id: str) -> bool:
    """Whether it is an id that we gave a run because the tracking server was not there to give one."""
    return _LOCAL_ID.fullmatch(run_id) is not None


class Spool:
    """What one run logged, in order, and how much of it was delivered.

    Whoever writes to it or delivers it holds `lock`. Appending is for any thread, delivering for one.
    """

    def __init__(self, folder: Path, lock: BaseFileLock | None = None) -> None:
        self.folder = folder
        self.lock = lock or FileLock(folder / _LOCK, thread_local=False)
        self._appending = threading.Lock()
        self._files = 0
        self.address: str
        self.run_id: str | None
        self.delivered: int
        self._read_state()

    @classmethod
    def create(cls, root: Path, address: str, *, local_id: str | None = None, run_id: str | None = None) -> Spool:
        """An empty one, locked, for a run of the store at `address`.

        Args:
            root: of the project.
            local_id: of a run that was logged before without the store; None: a new one, which tells the time.
            run_id: the run's id in the store, where it has one.
        """
        name = local_id or f"local-{datetime.now(UTC):%Y%m%d%H%M%S%f}-{secrets.token_hex(4)}"
        folder = root / FOLDER / name
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / _LOCK, thread_local=False)
        lock.acquire()  # before anybody can see it: one who delivers what others left takes nothing that is locked
        _write_json(folder / _STATE, {"address": address, "run_id": run_id, "delivered": 0})
        return cls(folder, lock)

    @property
    def local_id(self) -> str:
        return self.folder.name

    def exists(self) -> bool:
        """Whether nobody removed it, having delivered all."""
        return (self.folder / _STATE).is_file()

    def reopen(self) -> None:
        """Drop the half line that a killed process may have left, and look how much was delivered meanwhile.

        To be called with the lock held, before appending to what was there.
        """
        self._read_state()
        events = self.folder / _EVENTS
        if events.is_file():
            whole = events.read_bytes().rpartition(b"\n")
            os.truncate(events, len(whole[0] + whole[1]))

    def append(self, kind: str, **values: Any) -> None:
        """Add an event; the values must be what JSON knows.

        Raises:
            UserError: it can't be written, e.g. because the disk is full; then nothing of it is.
        """
        line = json.dumps({"kind": kind, **values}).encode() + b"\n"
        path = self.folder / _EVENTS
        with self._appending:
            size = path.stat().st_size if path.is_file() else 0
            try:
                with path.open("ab", buffering=0) as file:
                    if file.write(line) < len(line):
                        raise OSError("no space left")
            except OSError as error:
                if path.is_file():
                    os.truncate(path, size)
                raise self._full(error) from error

    def ended(self) -> bool:
        """Whether the newest event is the run's end."""
        path = self.folder / _EVENTS
        lines = path.read_bytes().splitlines(keepends=True) if path.is_file() else []
        whole = [line for line in lines[-2:] if line.endswith(b"\n")]
        return bool(whole) and json.loads(whole[-1])["kind"] == "end"

    def keep(self, path: Path) -> str:
        """Keep a file or folder as it is now and return its name for an event.

        By hard links where they can be made: nothing in a project is written in place.
        """
        kept = self.new_folder()
        try:
            if path.is_dir():
                shutil.copytree(path, kept, copy_function=_link, dirs_exist_ok=True)
            else:
                _link(path, kept / path.name)
        except OSError as error:
            raise self._full(error) from error
        return kept.name

    def new_folder(self) -> Path:
        """An empty folder, whose name goes into an event."""
        while True:
            self._files += 1
            folder = self.folder / _FILES / str(self._files)
            try:
                folder.mkdir(parents=True)
            except FileExistsError:  # of an earlier process
                continue
            except OSError as error:
                raise self._full(error) from error
            return folder

    def kept(self, name: str) -> Path:
        return self.folder / _FILES / name

    def forget(self, name: str) -> None:
        """Drop what `keep` or `new_folder` made: it is in the store."""
        shutil.rmtree(self.kept(name), ignore_errors=True)

    def next(self) -> tuple[dict[str, Any], int] | None:
        """The first event that was not delivered and where the one after it begins; None: there is none."""
        line = next(self._left(), None)
        return (json.loads(line), self.delivered + len(line)) if line else None

    def left(self) -> int:
        """Number of events that were not delivered."""
        return sum(1 for _ in self._left())

    def mark(self, delivered: int) -> None:
        """Note that all before byte `delivered` is in the store."""
        self.delivered = max(delivered, self.delivered)
        self._write_state()

    def found(self, run_id: str) -> None:
        """Note the run's id in the store."""
        self.run_id = run_id
        self._write_state()

    def drop_rest(self) -> None:
        """Never deliver what is left."""
        with self._appending:
            self.mark((self.folder / _EVENTS).stat().st_size)

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def _left(self) -> Iterator[bytes]:
        path = self.folder / _EVENTS
        if not path.is_file():
            return
        with path.open("rb") as file:
            file.seek(self.delivered)
            for line in file:
                if line.endswith(b"\n"):  # else somebody is still writing it, or was killed
                    yield line

    def _read_state(self) -> None:
        state = json.loads((self.folder / _STATE).read_text(encoding="utf8"))
        self.address, self.run_id, self.delivered = state["address"], state["run_id"], state["delivered"]

    def _write_state(self) -> None:
        state = {"address": self.address, "run_id": self.run_id, "delivered": self.delivered}
        _write_json(self.folder / _STATE, state)

    def _full(self, error: OSError) -> UserError:
        return UserError(f"{self.folder}: what the run logs can't be kept: {error.strerror or error}; make room first")


def find_spools(root: Path) -> list[Spool]:
    """Those of a project, the oldest first."""
    found = []
    for state in sorted((root / FOLDER).glob(f"local-*/{_STATE}")):
        try:
            found.append(Spool(state.parent))
        except FileNotFoundError:  # delivered and removed in this moment
            continue
    return found


def _link(source: str | Path, target: str | Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without links
        shutil.copy2(source, target)


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(value), encoding="utf8")
    temporary.replace(path)
