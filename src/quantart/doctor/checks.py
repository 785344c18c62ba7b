"""All checks in their order, and the table of what they found."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from quantart.doctor.row import Row, State, fails, warning
from quantart.errors import UserError

# (row, module, function, whether it needs a project); each module is imported by its check, so that a package that is
# missing or broken is a row of the table
CHECKS = (
    ("Python", "packages", "check_python", False),
    ("packages", "packages", "check_packages", False),
    ("locked versions", "packages", "check_lock", True),
    ("threads", "machine", "check_threads", False),
    ("devices", "machine", "check_devices", False),
    ("precision", "machine", "check_precision", False),
    ("memory", "machine", "check_memory", False),
    ("disk", "machine", "check_disk", False),
    ("params.yaml", "folder", "check_params", True),
    ("write permission", "folder", "check_permission", True),
    ("tracking", "store", "check_tracking", True),
    ("logged runs", "store", "check_delivered", True),
    ("database schema", "store", "check_schema", True),
    ("registry", "store", "check_registry", True),
    ("perceptual weights", "weights", "check_weights", False),
    ("DVC cache", "folder", "check_dvc", True),
    ("git", "folder", "check_git", True),
)
COLOURS = {State.ok: "green", State.warning: "yellow", State.fails: "red"}


def examine(root: Path | None) -> list[Row]:
    """Run every check; makes, changes and leaves nothing.

    Args:
        root: of the project; None: outside of one, where some rows say that they need one.
    """
    rows = []
    for name, module, function, needs_project in CHECKS:
        if needs_project and root is None:
            rows.append(warning(name, "needs a project", "run it in a folder with a params.yaml"))
        else:
            rows.append(_checked(name, module, function, root))
    return rows


def _checked(name: str, module: str, function: str, root: Path | None) -> Row:
    try:
        check: Callable[[Path | None], Row] = getattr(import_module(f"quantart.doctor.{module}"), function)
        return check(root)
    except UserError as error:
        return fails(name, str(error), "mend what this sentence names")
    except ImportError as error:
        return fails(name, f"can't be checked: {error}", "`make setup`, or `pip install -e .`")
    except Exception as error:  # whatever breaks a check breaks its row alone
        reason = " ".join(str(error).split())
        return fails(name, f"the check broke: {type(error).__name__}: {reason}", "mend what it names, or report it")


def print_rows(rows: list[Row], console: Console | None = None) -> None:
    """The table, and in a last line whether the default pipeline can run."""
    console = console or Console()
    table = Table()
    table.add_column("")
    table.add_column("check", no_wrap=True)
    table.add_column("found", overflow="fold")
    table.add_column("remedy", overflow="fold")
    for row in rows:
        state = f"[{COLOURS[row.state]}]{row.state}[/]"
        table.add_row(state, row.name, escape(row.found), escape(row.remedy))
    console.print(table, highlight=False)
    failing = sum(row.state is State.fails for row in rows)
    verdict = (
        f"{failing} of {len(rows)} checks fail: mend these first"
        if failing
        else "nothing keeps the pipeline from running"
    )
    console.print(verdict, highlight=False)
