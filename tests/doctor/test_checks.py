"""The whole examination, in this process and as a command."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from quantart.doctor import CHECKS, State, examine, fails, folder, machine, ok, print_findings


def files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def doctor(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "quantart_cli", "doctor"]
    wide = os.environ | {"COLUMNS": "250"}
    return subprocess.run(command, cwd=folder, env=wide, capture_output=True, text=True, timeout=300)


def test_a_project_in_order_is_told_so_and_nothing_is_left_in_it(project: Path) -> None:
    before = files(project)
    done = doctor(project)
    assert (done.returncode, done.stderr) == (0, "")
    assert "fail" not in done.stdout
    assert all(name in done.stdout for name in CHECKS)
    assert files(project) == before


def test_a_fault_ends_with_exit_code_1_and_a_remedy(project: Path) -> None:
    (project / "params.yaml").write_text("seed: zero\n")
    done = doctor(project)
    assert (done.returncode, done.stderr) == (1, "")
    assert "params.yaml: seed = 'zero'" in done.stdout
    assert "`quantart preset list`" in done.stdout


def test_outside_of_a_project_rows_say_that_they_need_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rows = examine(None)
    needing = {name for name, (*_, needs_project) in CHECKS.items() if needs_project}
    assert {name for name, row in rows.items() if row.found == "needs a project"} == needing
    assert all(rows[name].state is State.warning for name in needing)
    assert list(tmp_path.iterdir()) == []


def test_a_check_that_breaks_is_a_failing_row(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: object) -> None:
        raise ZeroDivisionError("by nought")

    monkeypatch.setattr(folder, "check_git", broken)
    monkeypatch.setattr(machine, "check_memory", broken)
    monkeypatch.setitem(sys.modules, "quantart.doctor.store", None)
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "fp8")
    rows = examine(project)
    for name, said in {
        "git": "ZeroDivisionError: by nought",
        "memory": "ZeroDivisionError: by nought",
        "tracking": "quantart.doctor.store",
        "precision": "'fp8'",
    }.items():
        assert said in rows[name].found
    failing = {"git", "memory", "tracking", "experiment", "logged runs", "database schema", "registry", "precision"}
    assert {name for name, row in rows.items() if row.state is State.fails} == failing
    assert all(row.remedy for row in rows.values() if row.state is not State.ok)


def test_texts_are_printed_as_they_are() -> None:
    console = Console(width=100, record=True, file=io.StringIO())
    print_findings({"a": ok("[red]photos[/] [1]"), "b": fails("x", "`rm [b].txt`")}, console)
    text = console.export_text()
    assert "[red]photos[/] [1]" in text
    assert "`rm [b].txt`" in text
    assert "1 of 2" in text
