"""What DVC watches for a stage is what its code imports: nothing is missed, and nothing else makes it run anew."""

import ast
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf8"))["stages"]
NETWORKS = ("components", "losses", "models")


def imported(file: Path, found: set[Path]) -> set[Path]:
    """Files of the networks' rooms that a file imports, also through others of them."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf8"))):
        if not isinstance(node, ast.ImportFrom) or not (node.module or "").startswith("quantart."):
            continue
        inner = ROOT / "src" / Path(*node.module.split("."))
        for each in (inner.with_suffix(".py"), *(inner / f"{name.name}.py" for name in node.names)):
            if each.is_file() and each.parent.name in NETWORKS and each not in found:
                found.add(each)
                imported(each, found)
    return found


@pytest.mark.parametrize("stage", ["stage1_base", "encode", "stage2"])
def test_every_network_that_a_stage_imports_is_among_its_dependencies(stage: str) -> None:
    deps = [ROOT / dep for dep in STAGES[stage]["deps"] if dep.startswith("src/")]
    own = {file for dep in deps if dep.suffix == ".py" for file in imported(dep, set())}
    assert len(own) > 5
    missing = [file for file in own if file not in deps and file.parent not in deps]
    assert [str(file.relative_to(ROOT)) for file in sorted(missing)] == []
