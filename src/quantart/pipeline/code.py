"""The stage `code`: what each other stage runs, as a small file that DVC compares.

`.quantart/code/<stage>.txt` lists the checksum of every file that computes the stage's result (see
`quantart.imports`), the value of every parameter that the stage reads and params.yaml leaves out, and the checksums of
the model that comes with the package if one of these parameters names it.
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
from quantart.models.shipped import SHIPPED, shipped_checksums
from quantart.params import Params
from quantart.params.file import read_mapping
from quantart.pipeline.stages import STAGES, Stage
from quantart.project import Project
from quantart.vocabulary.keys import flatten
from quantart.vocabulary.names import DOMAINS


def run(project: Project) -> None:
    """Write the file of every stage; in an experiment's copy, which may lack the pictures, after looking for them."""
    for domain in DOMAINS:
        project.source(domain), project.source_root(domain)  # DVC says of a missing one nothing but its path
    params, written = project.params(), read_mapping(project.root / "params.yaml")
    own = project.root / "src" / PACKAGE.name
    other = own.is_dir() and own.resolve() != PACKAGE
    if other and any(checksums(*each.entries, package=own) != checksums(*each.entries) for each in STAGES.values()):
        raise _another(own)
    with whole_folder(project.code) as fresh:
        for name, stage in STAGES.items():
            lines = _code(stage) + _defaults(stage, params, written) + _shipped(stage, params)
            (fresh / f"{name}.txt").write_text("".join(f"{line}\n" for line in lines), encoding="utf8")


def check_ready(project: Project, stage: str) -> None:
    """Check, before its work, that a stage can keep its results and runs the code that DVC recorded."""
    project.check_writable()
    own, recorded = project.root / "src" / PACKAGE.name, project.code / f"{stage}.txt"
    if "DVC_STAGE" in os.environ and own.is_dir() and own.resolve() != PACKAGE and recorded.is_file():
        lines = recorded.read_text(encoding="utf8").splitlines()
        if not set(_code(STAGES[stage])).issubset(lines):
            raise _another(own)


def _another(own: Path) -> UserError:
    return UserError(
        f"{own}: this project's code is another than the installed one that runs, {PACKAGE}",
        "install this folder (`pip install -e .`), or set PYTHONPATH=src:cli",
    )


def _code(stage: Stage) -> list[str]:
    return [f"{name} {checksum}" for name, checksum in checksums(*stage.entries).items()]


def _shipped(stage: Stage, params: Params) -> list[str]:
    """Checksums of the model that comes with the package, if a parameter of the stage names it."""
    named = SHIPPED in flatten(params.select(stage.keys(DOMAINS[0]) + stage.keys(DOMAINS[1]))).values()
    return [f"{SHIPPED}/{name} {checksum}" for name, checksum in shipped_checksums().items()] if named else []


def _defaults(stage: Stage, params: Params, written: Mapping[str, Any]) -> list[str]:
    """Parameters that the stage reads with another value than params.yaml has, which mostly is none: defaults."""
    values = flatten(params.select(dict.fromkeys(key for item in DOMAINS for key in stage.keys(item))))
    there = flatten(written)
    return [f"{key} {json.dumps(value)}" for key, value in values.items() if value != there.get(key)]
