"""`runs/<stage>.json`: the thread from a pipeline stage to its tracked run, an ordinary output of the stage."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from quantart.errors import UserError
from quantart.machine.whole import write_whole


@dataclass(frozen=True)
class RunLink:
    """What later stages need to know of the run that an earlier one made.

    Attributes:
        stage: e.g. `stage2_discrete`.
        run_id: of the MLflow run; of one that began without its tracking server an id of our own, see `local`.
        experiment: MLflow experiment that the run belongs to.
        model: the run's artifact folder with the trained network.
    """

    stage: str
    run_id: str
    experiment: str
    model: str = "model"


def write_link(path: Path, link: RunLink) -> None:
    """Write `link`, whole or not at all; the folder is made if absent."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, (json.dumps(asdict(link), indent=2) + "\n").encode())


def read_link(path: Path) -> RunLink:
    """The link in `path`.

    Raises:
        UserError: the stage has not run, or the file is not one that `write_link` wrote.
    """
    try:
        written = json.loads(path.read_text(encoding="utf8"))
        # a file of another version may say more
        return RunLink(**{f.name: written[f.name] for f in fields(RunLink) if f.name in written})
    except FileNotFoundError:
        raise UserError(f"{path}: not found; the stage that writes it has not run yet: `dvc repro` runs it") from None
    except (ValueError, TypeError) as error:
        raise UserError(f"{path}: not a link to a run ({error}); `dvc repro` writes it anew") from None
