"""`quantart registry` as a user meets it."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator

import pytest

from quantart_cli.__main__ import main

from ..registry.versions import add_version, own_store, run_id_of, values

NAME = "quantart"


@pytest.fixture(scope="module", autouse=True)
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A project with a good version, a broken one and one that was not evaluated."""
    with own_store(tmp_path_factory.mktemp("project")) as project, pytest.MonkeyPatch.context() as patch:
        patch.setenv("QUANTART_PROJECT", str(project.root))
        patch.setenv("COLUMNS", "160")
        for measured in (values(), values(texture=1.5), None):
            add_version(NAME, measured)
        yield


def call(command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """Exit code, output and errors."""
    monkeypatch.setattr(sys, "argv", ["quantart", "registry", *shlex.split(command)])
    with pytest.raises(SystemExit) as ended:
        main()
    out, err = capsys.readouterr()
    assert "Traceback" not in out + err
    return int(ended.value.code or 0), out, err


def test_the_path_of_a_champion(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def said(command: str) -> tuple[int, str, str]:
        return call(command, monkeypatch, capsys)

    code, out, _ = said("list")
    assert code == 0
    assert "champion" not in out
    assert [line.split()[0] for line in out.splitlines() if " discrete " in line] == ["3", "2", "1"]

    code, _, err = said("promote")  # the challenger
    assert code == 2
    assert err.startswith("error: version 3 ")
    assert f"`quantart evaluate --run-id {run_id_of(NAME, '3')}`" in err
    code, out, _ = said("promote 2")
    assert code == 1
    assert "FAILED  texture_squeezenet1_1 <= 0.85: measured 1.5 (1.4 to 1.6)\n" in out
    assert out.splitlines()[-1].startswith("version 2 is not promoted: 1 of 3 ")
    code, out, _ = said("promote 1")
    assert code == 0
    assert "\nversion 1 is now quantart@champion" in out
    code, out, _ = said("promote 1")
    assert (code, out.splitlines()[0]) == (0, out.strip())
    assert out.startswith("version 1 is quantart@champion")
    assert "passes <= 0.85" in said("show champion")[1]
    code, out, err = said("rollback")
    assert (code, out) == (2, "")
    assert err.startswith("error: quantart: ")
    assert "version 1 is the champion" in err


@pytest.mark.parametrize("command", ["show nope", "promote nope", "list --name nope", "rollback --name nope"])
def test_what_is_not_there_is_a_sentence(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = call(command, monkeypatch, capsys)
    assert (code, out) == (2, "")
    assert "'nope'; " in err
    assert len(err.splitlines()) == 1
