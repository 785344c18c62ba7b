"""`quantart doctor`: problems of this machine and this project, and how to fix them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from importlib import import_module
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from quantart.errors import UserError, one_line

# (module, function, whether it needs a project); a module is imported by its check, so that a missing or broken package
# fails a row and not the command
CHECKS = {
    "Python": ("packages", "check_python", False),
    "packages": ("packages", "check_packages", False),
    "locked versions": ("packages", "check_lock", True),
    "threads": ("machine", "check_threads", False),
    "devices": ("machine", "check_devices", False),
    "precision": ("machine", "check_precision", False),
    "memory": ("machine", "check_memory", False),
    "disk": ("machine", "check_disk", False),
    "params.yaml": ("folder", "check_params", True),
    "write permission": ("folder", "check_permission", True),
    "tracking": ("store", "check_tracking", True),
    "logged runs": ("store", "check_delivered", True),
    "database schema": ("store", "check_schema", True),
    "experiment": ("store", "check_experiment", True),
    "registry": ("store", "check_registry", True),
    "perceptual weights": ("machine", "check_weights", False),
    "DVC cache": ("folder", "check_dvc", True),
    "git": ("folder", "check_git", True),
}


class State(StrEnum):
    """`fails`: the default pipeline cannot run."""

    ok = "ok"
    warning = "warning"
    fails = "fails"


COLOURS = {State.ok: "green", State.warning: "yellow", State.fails: "red"}


@dataclass(frozen=True)
class Finding:
    """What a check found: a row of the table."""

    state: State
    found: str
    remedy: str = ""


ok, warning, fails = (partial(Finding, state) for state in State)


def examine(root: Path | None) -> dict[str, Finding]:
    """What each check found, by its name, in the project at `root` or without one; nothing is created or changed."""
    return {name: _finding(root, *check) for name, check in CHECKS.items()}


def _finding(root: Path | None, module: str, function: str, needs_project: bool) -> Finding:
    if needs_project and root is None:
        return warning("needs a project", "run it in a folder with a params.yaml")
    try:
        finding: Finding = getattr(import_module(f"quantart.doctor.{module}"), function)(root)
        return finding
    except UserError as error:
        return fails(error.fault, error.remedy or "correct what is named here")
    except ImportError as error:
        return fails(f"cannot be checked: {error}", "`make setup`, or `pip install -e .`")
    except Exception as error:  # a check that breaks fails only its own row
        return fails(f"the check broke: {type(error).__name__}: {one_line(error)}", "fix what it names, or report it")


def print_findings(findings: dict[str, Finding], console: Console) -> None:
    """Print the table, and below it whether the default pipeline can run."""
    table = Table("", "check", "found", "remedy")
    table.columns[1].no_wrap = True
    table.columns[2].overflow = table.columns[3].overflow = "fold"
    for name, finding in findings.items():
        state = f"[{COLOURS[finding.state]}]{finding.state}[/]"
        table.add_row(state, name, escape(finding.found), escape(finding.remedy))
    console.print(table, highlight=False)
    failing = sum(finding.state is State.fails for finding in findings.values())
    verdict = f"{failing} of {len(findings)} checks fail: fix these first" if failing else "the pipeline can run"
    console.print(verdict, highlight=False)
