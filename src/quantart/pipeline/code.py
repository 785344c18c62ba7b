"""The stage `code`: what each other stage runs, as a small file that DVC compares.

`.quantart/code/<stage>.txt` lists the checksum of every file that computes the stage's result (see
`quantart.imports`), and the value of every parameter that the stage reads and params.yaml leaves out.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from quantart.errors import UserError
from quantart.imports import PACKAGE, checksums
from quantart.machine.whole import whole_folder
from quantart.params import Params
from quantart.params.file import flat, read_mapping
from quantart.pipeline.stages import STAGES, Stage
from quantart.project import Project
from quantart.vocabulary.names import DOMAINS


def run(project: Project) -> None:
    """Write the file of every stage.

    Raises:
        UserError: wrong parameters, or the project's own copy of the package is another than the one that runs.
    """
    params, written = project.params(), read_mapping(project.root / "params.yaml")
    own = project.root / "src" / PACKAGE.name
    for stage in STAGES.values():
        if own.is_dir() and own.resolve() != PACKAGE and _code(stage, own) != _code(stage):
            raise _another(own)
    with whole_folder(project.code) as fresh:
        for name, stage in STAGES.items():
            (fresh / f"{name}.txt").write_text(_text(_code(stage) | _defaults(stage, params, written)), encoding="utf8")


def begin(project: Project, stage: str) -> Params:
    """The parameters, once it is clear that the stage can keep its results and runs the code that DVC recorded.

    Raises:
        UserError: wrong parameters, a folder that can't be written to, or DVC runs the stage in a folder whose code is
            another than the one that runs.
    """
    params = project.params()
    project.check_writable()
    own, recorded = project.root / "src" / PACKAGE.name, project.code / f"{stage}.txt"
    if "DVC_STAGE" in os.environ and own.is_dir() and own.resolve() != PACKAGE and recorded.is_file():
        lines = recorded.read_text(encoding="utf8").splitlines(keepends=True)
        if not set(_text(_code(STAGES[stage])).splitlines(keepends=True)) <= set(lines):
            raise _another(own)
    return params


def _another(own: Path) -> UserError:
    return UserError(
        f"{own}: this project's code is another than the installed one that runs, {PACKAGE}",
        "install this folder (`pip install -e .`), or set PYTHONPATH=src:cli",
    )


def _code(stage: Stage, package: Path = PACKAGE) -> dict[str, str]:
    return checksums(*stage.entries, package=package)


def _defaults(stage: Stage, params: Params, written: Mapping[str, Any]) -> dict[str, str]:
    """Parameters that the stage reads with another value than params.yaml has, which mostly is none: defaults."""
    keys = dict.fromkeys(key for item in DOMAINS for key in stage.keys(item))
    given = flat(written)
    return {key: json.dumps(value) for key, value in flat(params.select(keys)).items() if value != given.get(key)}


def _text(lines: Mapping[str, str]) -> str:
    return "".join(f"{name} {value}\n" for name, value in lines.items())
