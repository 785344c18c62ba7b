"""Votes: paints held-out pairs by several runs and baselines, shows them, and logs what was chosen to the runs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import combinations
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import torch
from mlflow.entities import Run
from torch import Tensor

from quantart.data.votes import Votes
from quantart.errors import UserError
from quantart.evaluation import methods
from quantart.evaluation.magenta import MagentaStylizer
from quantart.evaluation.methods import Rendering
from quantart.evaluation.task import TransferTask
from quantart.images.arrays import pixels_to_float, to_arrays, write_image
from quantart.machine.device import default_device
from quantart.machine.progress import progress
from quantart.models.stage_2 import ExperimentStage2
from quantart.pages.vote import Booth, Question, serve_votes
from quantart.pipeline.evaluation_data import Selection, open_data
from quantart.pipeline.trained import named_run, run_network
from quantart.project import Project
from quantart.reporting.run_metrics import VOTES
from quantart.serving.server import usable_port
from quantart.tracking.find import run_in_words
from quantart.tracking.store import configure
from quantart.tracking.writer import TrackedRun
from quantart.vocabulary.methods import ADAIN, COLOUR_MATCHED, MAGENTA
from quantart.vocabulary.names import DOMAINS
from quantart.vocabulary.shape import downsampling

BASELINES = (ADAIN, COLOUR_MATCHED, MAGENTA)
_Paint = Callable[[Tensor, Tensor], Tensor]

log = logging.getLogger(__name__)


def run(
    project: Project,
    names: Sequence[str],
    *,
    pairs: int | None = None,
    size: int | None = None,
    host: str = "127.0.0.1",
    port: int = 7870,
    browser: bool = False,
) -> None:
    """Serve the page until the process is stopped; votes are appended to the project's `votes.jsonl` one by one.

    Args:
        names: at least two, of runs of stage 2 (see `named_run`), of which there is at least one, and of `BASELINES`.
        pairs: how many of the project's held-out pairs; None: those that are evaluated.
        size: side in pixels of the pictures; None: that of the evaluation.

    Raises:
        UserError: there is no such run, fewer than two were named, or the project has no held-out pairs.
    """
    configure(project.root)
    port = usable_port(host, port)
    runs = {run.info.run_id: run for run in (named_run(project.root, each) for each in names if each not in BASELINES)}
    baselines = [each for each in BASELINES if each in names]
    if not runs or len(runs) + len(baselines) < 2:
        named = ", ".join([*map(run_in_words, runs.values()), *baselines])
        raise UserError(f"vote: needs two, at least one of them a run, and found {named or 'none'}", "name another run")
    votes = Votes(project.root / "votes.jsonl")
    side = size or project.params().evaluate.size
    with TemporaryDirectory(prefix="quantart-vote-") as folder:
        painters = _painters(runs.values(), baselines, side)
        with open_data(project, Selection(pairs=pairs, size=size), side, DOMAINS) as data:
            questions = _questions(data.transfer_task(side), painters, Path(folder))
        serve_votes(Booth(questions, votes), host, port, browser=browser)
    log.info("%d votes in %s; `quantart compare` counts those that are logged to its runs", len(votes.cast), votes.file)
    for run_id in runs:  # all votes on pictures that the run, or its VQGANs, painted, as a table of the run
        if own := [vote for vote in votes.cast if any(name.endswith(run_id) for name in vote.sides)]:
            TrackedRun(run_id).table(pd.DataFrame(own), VOTES)


@torch.inference_mode()
def _questions(task: TransferTask, painters: Mapping[str, _Paint], folder: Path) -> list[Question]:
    """Every two of the painters on each pair, whose pictures are written to `folder`."""
    found: list[Question] = []
    for number, (content, style) in progress(list(enumerate(task.pairs)), len(task.pairs), "paint"):
        sources = ((task.contents, content), (task.styles, style))
        pair = [pixels_to_float(of.centre([index], task.side)).to(default_device()) for of, index in sources]
        pictures = [*pair, *(paint(*pair) for paint in painters.values())]
        files = [folder / f"{number}-{place}.png" for place in range(len(pictures))]
        for file, picture in zip(files, pictures, strict=True):
            write_image(file, to_arrays(picture)[0])
        names = task.contents.files[content], task.styles.files[style]
        painted = zip(painters, files[2:], strict=True)
        found += [Question(*names, files[0], files[1], dict(two), task.side) for two in combinations(painted, 2)]
    return found


def _painters(runs: Iterable[Run], baselines: Sequence[str], side: int) -> dict[str, _Paint]:
    """By the name that votes know each by; AdaIN with the VQGANs of the first run."""
    painters: dict[str, _Paint] = {}
    for each in runs:
        with run_network(each) as trained:
            model = trained.load_stage_2("a vote").to(default_device())
        if side % (down := downsampling(model.config["ddconfig"])):
            raise UserError(f"size {side}: run {run_in_words(each)} needs a multiple of {down}", "give --size")
        if ADAIN in baselines and not painters:
            painters[f"{ADAIN}@{each.info.run_id}"] = partial(_by_codes, methods.adain, model)
        painters[each.info.run_id] = partial(_by_codes, methods.transfer, model)
    if COLOUR_MATCHED in baselines:
        painters[COLOUR_MATCHED] = methods.match_colours
    if MAGENTA in baselines:
        painters[MAGENTA] = MagentaStylizer()
    return painters


def _by_codes(
    method: Callable[[ExperimentStage2, Tensor, Tensor], Rendering],
    model: ExperimentStage2,
    photographs: Tensor,
    paintings: Tensor,
) -> Tensor:
    return method(model, model.content_latents(photographs), model.style_latents(paintings)).pictures
