"""`runs/<stage>.json`: which tracked run a pipeline stage made; an ordinary output of the stage."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from quantart.errors import UserError
from quantart.machine.whole import write_whole


@dataclass(frozen=True)
class RunLink:
    """The tracked run of a stage."""

    stage: str  # e.g. `stage2_discrete`
    run_id: str  # of the MLflow run; a local id if the run began without its tracking server, see `find.resolve`
    experiment: str  # the MLflow experiment that the run belongs to
    model: str = "model"  # the run's artifact folder with the trained network


def write_link(path: Path, link: RunLink) -> None:
    """Write `link`, whole or not at all; makes the folder if it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, (json.dumps(asdict(link), indent=2) + "\n").encode())


def read_link(path: Path) -> RunLink:
    """The link in `path`.

    Raises:
        UserError: the stage has not run, or `write_link` did not write this file.
    """
    try:
        written = json.loads(path.read_text(encoding="utf8"))
        # a file of another version may hold more
        return RunLink(**{f.name: written[f.name] for f in fields(RunLink) if f.name in written})
    except FileNotFoundError:
        raise UserError(f"{path}: not found; its stage has not run yet", "run `dvc repro`") from None
    except (ValueError, TypeError) as error:
        raise UserError(f"{path}: not a link to a run ({error})", "`dvc repro` writes it again") from None
