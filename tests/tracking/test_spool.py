"""The spool on disk, without a store."""

from __future__ import annotations

import json
import resource
from pathlib import Path

import pytest
from filelock import Timeout

from quantart.errors import UserError
from quantart.tracking.spool import FOLDER, Spool, find_spools


def kinds(spool: Spool) -> list[str]:
    return [json.loads(path.read_bytes())["kind"] for path in spool.events()]


def test_another_process_reads_the_events_in_order_and_adds_to_them(tmp_path: Path) -> None:
    spool = Spool.create(tmp_path, f"sqlite:///{tmp_path}/a.db", run_id="0123")
    for number in range(12):
        spool.append(str(number))
    spool.events()[0].unlink()  # delivered
    spool.lock.release()  # as the kernel does for a process that was killed
    (found,) = find_spools(tmp_path, f"sqlite:///{tmp_path}/a.db")
    assert (found.run_id, found.local_id) == ("0123", spool.local_id)
    assert found.take(0)
    found.append("12")
    assert kinds(found) == [str(number) for number in range(1, 13)]
    assert find_spools(tmp_path, f"sqlite:///{tmp_path}/b.db") == []


def test_one_process_has_it_at_a_time(tmp_path: Path) -> None:
    spool = Spool.create(tmp_path, "somewhere")
    (other,) = find_spools(tmp_path)
    with pytest.raises(Timeout):
        other.take(0)
    spool.remove()
    spool.lock.release()
    assert not other.take(0)
    assert not other.lock.is_locked
    assert list((tmp_path / FOLDER).iterdir()) == []


def test_a_disk_that_takes_no_more_is_reported_and_leaves_no_part_of_an_event(tmp_path: Path) -> None:
    spool = Spool.create(tmp_path, "somewhere")
    spool.append("first")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (7, before[1]))  # bytes; what is written beyond them fails
    try:
        with pytest.raises(UserError) as error:
            spool.append("second")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert str(spool.folder) in error.value.fault
    assert "File too large" in error.value.fault
    spool.append("third")
    assert kinds(spool) == ["first", "third"]
    assert {path.name for path in spool.folder.iterdir()} >= {"state.json", "lock"}
    assert len(list(spool.folder.iterdir())) == 4


def test_what_is_kept_is_as_it_was_when_the_original_is_replaced(tmp_path: Path) -> None:
    spool = Spool.create(tmp_path / "project", "somewhere")
    network = tmp_path / "network"
    (network / "deep").mkdir(parents=True)
    file = network / "deep" / "config.json"
    file.write_text("old")
    names = spool.keep(file), spool.keep(network)
    (tmp_path / "new.json").write_text("new")
    (tmp_path / "new.json").replace(file)
    assert (spool.kept(names[0]) / "config.json").read_text() == "old"
    assert (spool.kept(names[1]) / "deep" / "config.json").read_text() == "old"
