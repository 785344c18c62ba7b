"""Cores, devices, half precision, memory and disk."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from quantart.doctor import State, machine
from quantart.doctor.machine import check_devices, check_disk, check_memory, check_precision, check_threads
from quantart.errors import UserError


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(4), raising=False)
    return monkeypatch


@pytest.mark.parametrize(
    ("count", "processes", "asked", "state"),
    [
        (4, "1", None, State.ok),
        (2, "2", "2", State.ok),
        (1, "1", "1", State.warning),
        (8, "1", "8", State.warning),
        (4, "2", None, State.warning),
    ],
)
def test_threads_should_be_as_many_as_cores(
    count: int, processes: str, asked: str | None, state: State, threads: pytest.MonkeyPatch
) -> None:
    threads.setattr(torch, "get_num_threads", lambda: count)
    threads.setenv("ACCELERATE_NUM_PROCESSES", processes)
    if asked:
        threads.setenv("OMP_NUM_THREADS", asked)
    row = check_threads(None)
    assert row.state is state
    assert bool(row.remedy) is (state is State.warning)


def test_the_device_is_named_and_a_wrong_gpu_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    assert check_devices(None).state in {State.ok, State.warning}
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "99")
    with pytest.raises(UserError, match="CUDA_VISIBLE_DEVICES=99"):
        check_devices(None)


def test_bf16_that_is_only_imitated_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_USE_CPU", "1")
    for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.setattr(torch.cpu, name, lambda: False)
    assert check_precision(None).found == "float32 (no AMX and no AVX-512 BF16)"
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    assert check_precision(None).state is State.warning
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: True)
    assert (check_precision(None).state, check_precision(None).found) == (State.ok, "bf16 (AMX)")


@pytest.mark.parametrize(("free", "state"), [(1e9, State.fails), (3e9, State.warning), (9e9, State.ok)])
def test_memory_must_do_for_the_default(free: float, state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "CGROUP", Path("/nowhere"))
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=free))
    assert check_memory(None).state is state


def test_a_containers_limit_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "CGROUP", tmp_path)
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=9e9))
    (tmp_path / "memory.current").write_text("1000000000\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert check_memory(None).found == "9.0 GB free"
    (tmp_path / "memory.max").write_text("2000000000\n")
    assert (check_memory(None).state, check_memory(None).found) == (State.fails, "1.0 GB free")


@pytest.mark.parametrize(("free", "state"), [(1e8, State.fails), (2e9, State.warning), (9e9, State.ok)])
def test_disk_must_do_for_the_default(free: float, state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=free))
    assert check_disk(None).state is state
