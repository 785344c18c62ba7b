"""The threads that graphs use."""

from __future__ import annotations

import pytest

from quantart.graphs.run import threads


@pytest.mark.parametrize(("said", "number"), [("2", 2), ("", 0), ("all", 0)])
def test_threads_are_as_many_as_torch_would_use(said: str, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", said)
    assert threads() == number
