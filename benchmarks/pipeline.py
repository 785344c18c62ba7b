"""How long each stage of the default pipeline takes, from starting the command to its end, at one revision or at two.

    python benchmarks/pipeline.py [REVISION [LATER]] [--results benchmarks/RESULTS.md]

Each revision (HEAD unless one is named) is cloned into a temporary folder, and its stages run there one after another
by its own code, in the Python and with the packages that run this, and with nothing in DVC's cache. Starting the
interpreter and DVC's own work count. With two revisions there are two columns; a stage that one lacks is left open
there. Nothing else should run beside it.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from report import write_section

ROOT = Path(__file__).parents[1]
TITLE = "The default pipeline, per stage"


def seconds_of_stages(revision: str) -> dict[str, float]:
    """Seconds of each stage of a revision, in the order of its dvc.yaml."""
    with TemporaryDirectory() as temporary:
        clone = Path(temporary) / "clone"
        _run(["git", "clone", "--quiet", "--no-checkout", str(ROOT), str(clone)], ROOT)
        _run(["git", "checkout", "--quiet", "--detach", _commit(revision)], clone)
        names = _run([sys.executable, "-m", "dvc", "stage", "list", "--name-only"], clone).split()
        found = {}
        for name in names:
            begun = time.perf_counter()
            _run([sys.executable, "-m", "dvc", "repro", "--single-item", name], clone)
            found[name] = time.perf_counter() - begun
            print(f"{revision} {name}: {found[name]:.1f} s", file=sys.stderr, flush=True)
        return found


def table(found: dict[str, dict[str, float]]) -> list[str]:
    """Lines of Markdown: a row for each stage and one for their sum, a column for each revision."""
    stages = list(dict.fromkeys(stage for times in found.values() for stage in times))
    rows = [(stage, [times.get(stage) for times in found.values()]) for stage in stages]
    rows.append(("all", [sum(times.values()) for times in found.values()]))
    lines = [f"| stage | {' | '.join(f'{name} (s)' for name in found)} |", "|---" * (len(found) + 1) + "|"]
    return lines + [f"| {stage} | {' | '.join(map(_cell, times))} |" for stage, times in rows]


def _cell(seconds: float | None) -> str:
    return "–" if seconds is None else f"{seconds:.1f}"


def _commit(revision: str) -> str:
    return _run(["git", "rev-parse", "--verify", f"{revision}^{{commit}}"], ROOT).strip()


def _run(command: Sequence[str], folder: Path) -> str:
    """What a command prints; the code of `folder` goes before what is installed, and its runs stay in it."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "DVC_"))}
    environment["PYTHONPATH"] = os.pathsep.join(str(folder / part) for part in ("src", "cli"))
    environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), environment["PATH"]])
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("revisions", nargs="*", default=["HEAD"], metavar="REVISION")
    parser.add_argument("--results", type=Path, help="put the table into this file too")
    given = parser.parse_args()
    if len(given.revisions) > 2:
        parser.error("one revision, or two")
    short = [f"{revision} ({_commit(revision)[:7]})" for revision in given.revisions]
    found = {name: seconds_of_stages(revision) for name, revision in zip(short, given.revisions, strict=True)}
    lines = table(found)
    print("\n".join(lines))
    if given.results:
        write_section(given.results, TITLE, lines)


if __name__ == "__main__":
    main()
