"""Real signals to this process."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from types import FrameType

import pytest

from quantart.errors import StoppedBySignal
from quantart.machine.interrupt import Interrupt

BOTH = pytest.mark.parametrize(("signum", "exit_code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])


class ActedAtOnce(Exception):
    pass


@pytest.fixture(autouse=True)
def _usual_handlers() -> Iterator[None]:
    """Handlers that raise, in place of those that would end the tests."""

    def act(signum: int, frame: FrameType | None) -> None:
        raise ActedAtOnce(signum)

    before = {signum: signal.signal(signum, act) for signum in (signal.SIGTERM, signal.SIGINT)}
    yield
    for signum, handler in before.items():
        signal.signal(signum, handler)


def send(signum: int) -> None:
    os.kill(os.getpid(), signum)


@BOTH
def test_the_first_signal_is_remembered_and_stops_when_asked(signum: signal.Signals, exit_code: int) -> None:
    with Interrupt() as interrupt:
        interrupt.stop_if_requested("after step 6")
        assert not interrupt.requested
        send(signum)
        assert interrupt.requested
        with pytest.raises(StoppedBySignal) as caught:
            interrupt.stop_if_requested("after step 7")
    assert caught.value.exit_code == exit_code
    assert signum.name in str(caught.value)
    assert "step 7" in str(caught.value)


@BOTH
def test_a_second_signal_acts_at_once(signum: signal.Signals, exit_code: int) -> None:
    with Interrupt() as interrupt:
        send(signum)
        with pytest.raises(ActedAtOnce):
            send(signum)
        assert interrupt.requested


@BOTH
def test_afterwards_signals_act_as_before(signum: signal.Signals, exit_code: int) -> None:
    with Interrupt() as interrupt:
        pass
    with pytest.raises(ActedAtOnce):
        send(signum)
    assert not interrupt.requested
