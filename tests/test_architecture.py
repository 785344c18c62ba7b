"""What may import what, as the table in docs/architecture.md has it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = ROOT / "src" / "quantart"
TABLE = re.compile(r"^\| `([\w/]+)` \|[^|]*\| (.*) \|$", re.MULTILINE)


def table() -> dict[str, set[str]]:
    """Rooms, from the ground floor up, and the rooms that each may import."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf8")
    allowed: dict[str, set[str]] = {}
    for room, cell in TABLE.findall(text):
        allowed[room] = set(allowed) if "all above" in cell else set(re.findall(r"`(\w+)`", cell))
    return allowed


def room_of(module: str) -> str:
    """`components` of `quantart.components.blocks`, `errors` of `quantart.errors`."""
    return module.split(".")[1]


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Line and room of each import of the package, also inside functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("quantart."):
            yield node.lineno, room_of(node.module or "")
        elif isinstance(node, ast.ImportFrom) and node.module == "quantart":
            yield from ((node.lineno, alias.name) for alias in node.names if not alias.name.startswith("__"))
        elif isinstance(node, ast.Import):
            yield from ((node.lineno, room_of(a.name)) for a in node.names if a.name.startswith("quantart."))


def rooms() -> list[str]:
    """Packages and modules directly inside the package."""
    found = [path for path in SOURCES.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()]
    return sorted(path.stem for path in found if path.stem != "__init__")


def test_every_room_is_in_the_table_above_those_that_it_imports() -> None:
    allowed = table()
    assert sorted(set(allowed) - {"cli/quantart_cli"}) == rooms()
    order = list(allowed)
    upwards = [(room, other) for room in order for other in allowed[room] if order.index(other) >= order.index(room)]
    assert upwards == []


@pytest.mark.parametrize("room", rooms())
def test_a_room_imports_what_the_table_allows(room: str) -> None:
    allowed = table()[room] | {room}
    files = sorted((SOURCES / room).rglob("*.py")) or [SOURCES / f"{room}.py"]
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {other}"
        for path in files
        for line, other in imports(path)
        if other not in allowed
    ]
    assert wrong == []


@pytest.mark.parametrize("room", ["components", "losses", "models", "training"])
def test_the_network_and_its_training_need_neither_mlflow_nor_dvc(room: str) -> None:
    reached, waiting = set(), [room]
    while waiting:
        reached.add(current := waiting.pop())
        waiting += table()[current] - reached
    found = [
        f"{path.relative_to(ROOT)} imports {name}"
        for each in reached
        for path in sorted((SOURCES / each).rglob("*.py")) or [SOURCES / f"{each}.py"]
        for name in re.findall(r"^\s*(?:import|from) (mlflow|dvc)\b", path.read_text(encoding="utf8"), re.MULTILINE)
    ]
    assert found == []
