"""What counts as code that a module runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from quantart.imports import checksums

BODY = 'from house.rooms.kitchen import cook\n\nSIZE = 2\n\ndef work() -> int:\n    """Docstring."""\n    return SIZE\n'


@pytest.fixture
def package(tmp_path: Path) -> Path:
    files = {
        "__init__.py": "",
        "main.py": BODY,
        "rooms/__init__.py": "",
        "rooms/kitchen.py": "def cook(): ...\n",
        "rooms/cellar.py": "",
        "rooms/attic.py": "",
        "rooms/menus/soup.txt": "soup",
        "rooms/py.typed": "",
        "garden/__init__.py": "",
        "garden/tree.bin": "tree",
    }
    for name, text in files.items():
        path = tmp_path / "house" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "house"


def of_main(package: Path, text: str | None = None) -> dict[str, str]:
    if text is not None:
        (package / "main.py").write_text(text)
    return checksums("house.main", package=package)


def test_a_module_needs_what_it_imports_the_packages_above_and_their_data(package: Path) -> None:
    needed = ["__init__.py", "main.py", "rooms/__init__.py", "rooms/kitchen.py", "rooms/menus/soup.txt"]
    assert list(of_main(package)) == needed
    (package / "rooms/kitchen.py").write_text("from house.rooms import cellar\n")
    assert list(of_main(package)) == sorted([*needed, "rooms/cellar.py"])


@pytest.mark.parametrize(
    "text",
    ["import house.rooms.attic", "from house.rooms import attic as a", "def later():\n    import house.rooms.attic\n"],
)
def test_each_way_to_import_counts(package: Path, text: str) -> None:
    assert "rooms/attic.py" in of_main(package, text)


@pytest.mark.parametrize("guard", ["TYPE_CHECKING", "typing.TYPE_CHECKING"])
def test_what_is_imported_for_a_type_checker_does_not_count(package: Path, guard: str) -> None:
    text = f"if {guard}:\n    from house.rooms import attic\nelse:\n    from house.rooms import cellar\n"
    found = of_main(package, text)
    assert "rooms/attic.py" not in found
    assert "rooms/cellar.py" in found
    assert of_main(package, text.replace("attic", "attic, kitchen")) == found


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"""Docstring."""', '"""Another."""'),
        ('    """Docstring."""\n', ""),
        ("SIZE = 2\n", 'SIZE = 2  # pixels\n"""Of the thing."""\n'),
        ("SIZE = 2", "SIZE = (  2  )"),
        ("SIZE = 2\n", "SIZE = 2\n\n\n\n"),
    ],
)
def test_explanations_and_formatting_change_no_checksum(package: Path, old: str, new: str) -> None:
    assert old in BODY
    assert of_main(package, BODY.replace(old, new)) == of_main(package, BODY)


def test_the_description_of_a_parameter_explains_and_its_default_does_not(package: Path) -> None:
    field = 'from pydantic import Field\nsteps = Field(2, description="how many")\n'
    assert of_main(package, field) == of_main(package, field.replace("how many", "number of steps"))
    assert of_main(package, field) != of_main(package, field.replace("2", "3"))


@pytest.mark.parametrize("change", [("SIZE = 2", "SIZE = 3"), ("return SIZE", "return -SIZE"), ("work", "works")])
def test_what_runs_changes_the_checksum(package: Path, change: tuple[str, str]) -> None:
    assert of_main(package)["main.py"] != of_main(package, BODY.replace(*change))["main.py"]


def test_data_counts_byte_by_byte(package: Path) -> None:
    before = of_main(package)
    (package / "rooms/menus/soup.txt").write_text("Soup")
    assert {name for name, checksum in of_main(package).items() if checksum != before[name]} == {"rooms/menus/soup.txt"}


def test_a_relative_import_is_refused_rather_than_missed(package: Path) -> None:
    with pytest.raises(ValueError, match="line 1"):
        of_main(package, "from .rooms import attic\n")
