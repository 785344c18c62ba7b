"""The error where another process of the training ended; real ones are in pipeline/test_lost_process.py."""

from __future__ import annotations

import pytest
from torch.distributed import DistBackendError

from quantart.errors import UserError
from quantart.training import stopping
from quantart.training.stopping import lost_process

GLOO = RuntimeError("[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]")


def advice() -> str:
    return "run it again"


@pytest.mark.parametrize("error", [GLOO, DistBackendError("NCCL error: unhandled system error")])
def test_a_lost_connection_is_reported(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopping, "world_size", lambda: 3)
    with pytest.raises(UserError) as said, lost_process(advice):
        raise error
    assert "3 processes" in said.value.fault
    assert said.value.remedy == advice()


def test_other_errors_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RuntimeError, match="Connection closed"), lost_process(advice):  # there is no other process
        raise GLOO
    monkeypatch.setattr(stopping, "world_size", lambda: 2)
    with pytest.raises(RuntimeError, match="shapes"), lost_process(advice):
        raise RuntimeError("shapes do not fit")
