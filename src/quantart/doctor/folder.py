"""The project's folder: parameters, permissions, git and DVC's cache."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import yaml
from dvc.config import Config

from quantart.doctor import Finding, fails, ok, warning
from quantart.errors import UserError
from quantart.machine.disk import check_writable
from quantart.machine.names import FileNames
from quantart.project import Project, tracking
from quantart.vocabulary.names import DOMAINS


def check_params(root: Path) -> Finding:
    project = Project(root)
    try:
        params = project.params()
    except UserError as error:
        return fails(error.fault, "correct these lines; `quantart preset list` shows complete sets of parameters")
    for domain in DOMAINS:
        table, places = params.data.table(domain), {f"data.{domain}": params.data.folder(domain)}
        if table is not None and table.root is not None:
            places[f"data.{domain}_table.root"] = table.root
        for key, named in places.items():
            there = FileNames().on_disk(root / named)
            if not there.exists():
                return fails(f"{key}: {named} does not exist", f"put pictures there, or set {key}")
            if there != root / named and key == f"data.{domain}":
                found = f"{key}: the accents of {named} are coded otherwise on this disk, so DVC does not find it"
                return fails(found, "copy the name from what `ls` prints")
            if not Path(named).is_absolute() and _untracked(root, there.relative_to(root).as_posix()):
                found = f"{key}: {named} is tracked by neither git nor DVC, so no experiment in a copy has it"
                return warning(found, f"before `dvc exp run --temp` or `--queue`: {tracking(named)}")
    return ok("all values are valid; the folders with the pictures exist")


def check_permission(root: Path) -> Finding:
    """Whether files can be made in the project and in each folder that the pipeline writes to."""
    Project(root).check_writable()
    check_writable(root / ".dvc")
    return ok(f"{root} and the folders in it that the pipeline writes to")


def check_git(root: Path) -> Finding:
    if shutil.which("git") is None:
        return fails("not installed", "install git: DVC needs it")
    inside = _run_git(root, "rev-parse", "--is-inside-work-tree")
    if inside.stdout.strip() != "true":
        if "safe.directory" in inside.stderr:  # in git's advice, whatever its language
            trust = f"`git config --global --add safe.directory {root}` if its owner is to be trusted"
            return fails(f"git refuses the repository of {root}, of which another user is the owner", trust)
        return fails(f"{root} is in no git repository", f"`git -C {root} init`")
    commit = _git(root, "rev-parse", "--short", "HEAD")
    if commit is None:
        return warning("no commit yet, so runs cannot record the code's version", "`git commit`")
    changed = len((_git(root, "status", "--porcelain") or "").splitlines())
    if changed:
        return warning(f"{commit}, {changed} files changed", "`git commit` before a run that must be reproducible")
    return ok(f"{commit}, nothing changed")


def check_dvc(root: Path) -> Finding:
    """Whether DVC's cache is writable and has the outputs that `dvc.lock` lists."""
    folder = root / ".dvc"
    if not folder.is_dir() or not (root / "dvc.yaml").is_file():
        return fails(f"{root} has no DVC pipeline (.dvc and dvc.yaml)", "`quantart init FOLDER` makes a project")
    # DVC's own settings, of this project, this user and this machine
    cache = Path(folder, Config(str(folder))["cache"].get("dir") or "cache")
    try:
        check_writable(cache)
    except UserError as error:
        return fails(error.fault, f"{error.remedy}; or `dvc cache dir --local DIR`")
    lock = root / "dvc.lock"
    try:
        listed = yaml.safe_load(lock.read_text(encoding="utf8")) if lock.is_file() else None
    except yaml.YAMLError as error:
        found = f"{lock}: not valid YAML: {' '.join(str(error).split())}"
        return fails(found, "after a merge `git checkout --ours dvc.lock`, or --theirs, then `dvc repro`")
    outs = [out for stage in (listed or {}).get("stages", {}).values() for out in stage.get("outs", [])]
    made = {out["path"]: out["md5"] for out in outs if "md5" in out}
    lost = [path for path, md5 in made.items() if not (cache / "files" / "md5" / md5[:2] / md5[2:]).exists()]
    if lost:
        found = f"{len(lost)} of {len(made)} outputs are not in {cache}: {lost[0]}{', …' if len(lost) > 1 else ''}"
        return warning(found, "nothing if these outputs are in the project; otherwise `dvc repro` makes them again")
    if not str(root).isascii():
        found = f"{root}: `dvc exp run --temp` and `--queue` fail where the path has other letters than ASCII"
        return warning(found, "`dvc exp run` without them, or a folder with a plain name")
    return ok(f"{cache}: {len(made)} outputs" if made else f"{cache}: empty, no stage has run")


def _untracked(root: Path, named: str) -> bool:
    """Whether git has no file of it, nor the file by which `dvc add` tracks it or a folder that it is in."""
    places = [path for path in (Path(named), *Path(named).parents) if path != Path()]
    return _git(root, "ls-files", "--", named, *(f"{path}.dvc" for path in places)) == ""


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = _run_git(root, *arguments)
    except FileNotFoundError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _run_git(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    # without optional locks: `git status` would rewrite its index
    return subprocess.run(["git", "--no-optional-locks", "-C", str(root), *arguments], capture_output=True, text=True)
