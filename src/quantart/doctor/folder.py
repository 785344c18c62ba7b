"""The project's folder: parameters, permissions, git, and DVC's cache."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import yaml
from dvc.config import Config

from quantart.doctor.row import Row, fails, ok, warning
from quantart.errors import UserError
from quantart.machine.writable import check_writable
from quantart.project import WRITTEN, Project
from quantart.vocabulary.names import DOMAINS


def check_params(root: Path) -> Row:
    project = Project(root)
    try:
        params = project.params()
    except UserError as error:
        return fails("params.yaml", str(error), "mend these lines; `quantart preset list` shows whole sets that fit")
    for domain in DOMAINS:
        if not project.source(domain).exists():
            found = f"data.{domain}: {params.data.folder(domain)} is not there"
            return fails("params.yaml", found, f"put pictures there, or set data.{domain}")
    return ok("params.yaml", "every value fits; the pictures' folders are there")


def check_permission(root: Path) -> Row:
    """Whether files can be made in the project and in each folder that the pipeline writes to."""
    for name in ("", *WRITTEN, ".dvc"):
        try:
            check_writable(root / name)
        except UserError as error:
            fault, _, remedy = str(error).partition("; ")
            return fails("write permission", fault, remedy)
    return ok("write permission", f"{root} and the folders in it that the pipeline writes to")


def check_git(root: Path) -> Row:
    if shutil.which("git") is None:
        return fails("git", "not installed", "install git: DVC works in its repositories")
    if _git(root, "rev-parse", "--is-inside-work-tree") != "true":
        return fails("git", f"{root} is in no git repository", f"`git -C {root} init`")
    commit = _git(root, "rev-parse", "--short", "HEAD")
    if commit is None:
        return warning("git", "no commit yet, so a run can't say what it was made from", "`git commit`")
    changed = len((_git(root, "status", "--porcelain") or "").splitlines())
    if changed:
        return warning("git", f"{commit}, {changed} files changed", "`git commit` before a run that is to be repeated")
    return ok("git", f"{commit}, nothing changed")


def check_dvc(root: Path) -> Row:
    """Whether DVC's cache can be written, and holds what `dvc.lock` says was made."""
    folder = root / ".dvc"
    if not folder.is_dir() or not (root / "dvc.yaml").is_file():
        return fails("DVC cache", f"{root} has no pipeline of DVC (.dvc and dvc.yaml)", "go to a clone of the project")
    # DVC's own settings, of this project, this user and this machine
    cache = Path(folder, Config(str(folder))["cache"].get("dir") or "cache")
    try:
        check_writable(cache)
    except UserError as error:
        fault, _, remedy = str(error).partition("; ")
        return fails("DVC cache", fault, f"{remedy}; or `dvc cache dir --local DIR`")
    made = _outputs(root / "dvc.lock")
    lost = [path for path, md5 in made.items() if not (cache / "files" / "md5" / md5[:2] / md5[2:]).exists()]
    if lost:
        more = ", …" if len(lost) > 1 else ""
        remedy = "nothing, where these outputs are in the project; else `dvc repro` makes them again"
        return warning("DVC cache", f"{len(lost)} of {len(made)} outputs are not in {cache}: {lost[0]}{more}", remedy)
    return ok("DVC cache", f"{cache}: {len(made)} outputs" if made else f"{cache}: nothing was made yet")


def _outputs(lock: Path) -> dict[str, str]:
    """Digest of each cached output of the pipeline, by path."""
    if not lock.is_file():
        return {}
    stages: dict[str, Any] = (yaml.safe_load(lock.read_text(encoding="utf8")) or {}).get("stages", {})
    return {out["path"]: out["md5"] for stage in stages.values() for out in stage.get("outs", []) if "md5" in out}


def _git(root: Path, *arguments: str) -> str | None:
    # no optional locks: `git status` would else write its index anew
    command = ["git", "--no-optional-locks", "-C", str(root), *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else None
