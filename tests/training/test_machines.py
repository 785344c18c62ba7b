"""What processes must have in common; those of two machines are in pipeline/test_machines.py."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from accelerate.state import AcceleratorState

from quantart.errors import UserError
from quantart.training import machines
from quantart.training.machines import agree, join, patience


def test_who_waits_says_so_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    twice = threading.Event()

    def warn(words: str) -> None:
        said.append(words)
        if len(said) == 2:
            twice.set()

    monkeypatch.setattr(machines.log, "warning", warn)
    with patience("still waiting", seconds=0.01):
        assert twice.wait(60)
    count = len(said)
    assert set(said) == {"still waiting"}
    with patience("never said", seconds=None), patience("nor this", seconds=60) as news:
        news()
    assert len(said) == count


def together(monkeypatch: pytest.MonkeyPatch, *others: tuple[dict[str, object], int]) -> None:
    """Other processes beside this one, with what decides their result and the steps of their checkpoints."""
    there = [(f"host:/copy-{rank}", values, step) for rank, (values, step) in enumerate(others, 1)]
    monkeypatch.setattr(machines, "gather_object", lambda own: own + there)


def test_processes_that_agree_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    together(monkeypatch, ({"parameters.seed": 1}, 4), ({"parameters.seed": 1}, 0))
    agree(Path("/here"), {"parameters": {"seed": 1}}, 4)


@pytest.mark.parametrize(
    ("values", "step", "fault"),
    [
        ({"parameters.seed": 2}, 4, r"process 1 \(host:/copy-1\) has parameters.seed 2, process 0 \(.*:/here\) 1"),
        ({}, 4, r"process 1 .* has parameters.seed None, process 0"),
        ({"parameters.seed": 1, "codes": []}, 4, "has codes \\[\\], process 0 .* None"),
        ({"parameters.seed": 1}, 6, r"process 1 .* has a checkpoint of step 6, process 0 .* one of step 4"),
    ],
)
def test_what_differs_is_named(
    monkeypatch: pytest.MonkeyPatch, values: dict[str, object], step: int, fault: str
) -> None:
    together(monkeypatch, (values, step))
    with pytest.raises(UserError, match=fault):
        agree(Path("/here"), {"parameters": {"seed": 1}}, 4)


def test_others_that_cannot_be_met_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    AcceleratorState._reset_state(reset_partial_state=True)
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    for name, value in {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MASTER_PORT", "no port")
    with pytest.raises(UserError) as error:
        join()
    AcceleratorState._reset_state(reset_partial_state=True)
    assert "process 1 could not meet the 2 processes at 127.0.0.1:no port" in error.value.fault
    assert "GLOO_SOCKET_IFNAME" in error.value.remedy
