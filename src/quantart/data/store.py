"""Training data in a store such as S3: a project's folder `data`, of which each file is copied here before it is used.

An address is one that `pyarrow.fs` understands, such as `s3://bucket/data`. A store of one's own and its keys are named
by the environment (`AWS_ENDPOINT_URL`, `AWS_ACCESS_KEY_ID`, …).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.fs as fs
from filelock import FileLock

from quantart.errors import UserError, one_line
from quantart.machine.whole import remove, write_whole

_FETCHED_AT_ONCE = 16
_KEYS = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
_Job = tuple[Future[None], Callable[[], None]]
SOURCE_FILE = "source.json"  # in a folder with copies: where the rest is, and of which version


class Store:
    """A folder in a store; UserError, in one sentence, where the store or a file is not there or can't be read."""

    def __init__(self, address: str) -> None:
        if "@" in urlsplit(address).netloc:  # it would be in messages and files
            raise UserError("the address of the store has keys in it", f"{_KEYS} are the place for them")
        self.address = address.rstrip("/")
        with self._said():
            self._files, self._folder = fs.FileSystem.from_uri(self.address)

    def read(self, name: str) -> bytes:
        """The contents of a file."""
        with self._said(name), self._files.open_input_file(f"{self._folder}/{name}") as file:
            return bytes(file.read())

    def read_column(self, name: str, column: str) -> pa.Table:
        """One column of an Arrow file; the others are not fetched."""
        with self._said(name), self._files.open_input_file(f"{self._folder}/{name}") as file:
            place = pa.ipc.open_file(file).schema.get_field_index(column)
            options = pa.ipc.IpcReadOptions(included_fields=[place], use_threads=False)
            return pa.ipc.open_file(file, options=options).read_all()

    def changed(self, name: str) -> int:
        """When a file was written, in ns."""
        with self._said(name):
            info = self._files.get_file_info(f"{self._folder}/{name}")
            if info.type != fs.FileType.File:
                raise FileNotFoundError("is not there")
        return int(info.mtime_ns)

    def sizes(self) -> dict[str, int]:
        """Bytes of each file in the folder, by name."""
        with self._said():
            found = self._files.get_file_info(fs.FileSelector(self._folder))
        return {each.base_name: each.size for each in found if each.type == fs.FileType.File}

    @contextmanager
    def _said(self, name: str = "") -> Iterator[None]:
        place = f"{self.address}/{name}".rstrip("/")
        try:
            yield
        except FileNotFoundError as error:
            raise UserError(f"{place}: not found", "the project's whole folder `data` must be there") from error
        except (OSError, ValueError) as error:  # pyarrow's are of both kinds
            raise UserError(
                f"{place}: {one_line(error)}",
                f"see that the address and AWS_ENDPOINT_URL are right, that {_KEYS} may read it, and that it runs; "
                "a training resumes from its last checkpoint",
            ) from error


def mirror(address: str, names: Sequence[str], folder: Path) -> None:
    """Copy files of a store into `folder`, each with a note of where the other files of its folder are.

    Copies of an earlier version are removed, with all that is beside them.
    """
    store = Store(address)
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock"):  # several processes of a machine share the folder
        for name in names:
            path = folder / name
            address, index = f"{store.address}/{Path(name).parent.as_posix()}", Path(name).name
            source = {"address": address, "index": index, "changed": store.changed(name)}
            note = json.dumps(source).encode()
            beside = path.parent / SOURCE_FILE
            if path.exists() and beside.exists() and beside.read_bytes() == note:
                continue
            remove(path.parent)
            path.parent.mkdir(parents=True)
            write_whole(path, store.read(name))
            write_whole(beside, note)


class Source:
    """The folder of a store that holds the files which a folder here lacks, as it was when this one was made."""

    def __init__(self, note: Path) -> None:
        said = json.loads(note.read_text(encoding="utf8"))
        self.store = Store(said["address"])
        self._index, self._changed = said["index"], said["changed"]

    def check(self) -> None:
        """Raise a UserError if the folder was written again since: ask after a file was read, before it is used."""
        if self.store.changed(self._index) != self._changed:
            raise UserError(f"{self.store.address}/{self._index}: was written again meanwhile", "start again")


def source_of(folder: Path) -> Source | None:
    """Where the files are that a folder lacks; None for a folder that holds all of its own."""
    note = folder / SOURCE_FILE
    return Source(note) if note.exists() else None


def soon(fetch: Callable[[], None]) -> Future[None]:
    """Call `fetch` in one of several threads, in the order of the calls."""
    future: Future[None] = Future()
    _jobs().put((future, fetch))
    return future


@cache
def _jobs() -> SimpleQueue[_Job]:
    """What the threads do. They are daemons, which don't hold up the end with what is no longer needed."""
    jobs: SimpleQueue[_Job] = SimpleQueue()
    for _ in range(_FETCHED_AT_ONCE):
        Thread(target=_work, args=[jobs], daemon=True).start()
    return jobs


def _work(jobs: SimpleQueue[_Job]) -> None:
    while True:
        future, fetch = jobs.get()
        if future.set_running_or_notify_cancel():
            try:
                fetch()
                future.set_result(None)
            except Exception as error:  # for whoever asks
                future.set_exception(error)
