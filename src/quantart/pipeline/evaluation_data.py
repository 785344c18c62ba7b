"""The pictures of an evaluation: a split of the project's, or folders of one's own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from accelerate import PartialState
from accelerate.utils import broadcast_object_list

from quantart.data.pairs import Pairs, partners, read_pairs
from quantart.data.pictures import PackedPictures
from quantart.data.prepare import prepare_domain
from quantart.data.splits import Split
from quantart.errors import UserError
from quantart.evaluation.task import ReconstructionTask, TransferTask
from quantart.params import DOMAINS, DataParams, Domain
from quantart.pipeline.pair import chosen_pairs
from quantart.project import Project
from quantart.tracking.runs import DataUsed

_OWN_SPLIT: Split = "train"  # of pictures that are not split


@dataclass(frozen=True)
class Selection:
    """Which pictures, and how many pairs of them.

    Attributes:
        split: of the project's prepared pictures.
        content, style: folders (or other sources, see `find_pictures`) of one's own in their place.
        pairs: how many; None: those that the project has stored, or `default_pairs`.
        seed: draws them.
    """

    split: Split = "test"
    content: Path | None = None
    style: Path | None = None
    pairs: int | None = None
    default_pairs: int = 48
    seed: int = 0


class EvaluationData:
    """Pictures of both domains, and the pairs to evaluate."""

    def __init__(
        self, project: Project | None, selection: Selection, folders: dict[Domain, Path], split: Split
    ) -> None:
        self._project = project
        self._selection = selection
        self._split = split
        self._own = selection.content is not None
        self._pictures = {domain: PackedPictures(folders[domain], split) for domain in DOMAINS}
        for domain, pictures in self._pictures.items():
            if not len(pictures):
                raise UserError(f"{folders[domain]}: no {split} picture; raise data.{split}_share or add pictures")

    def transfer(self, side: int) -> TransferTask:
        """The pairs, cut to squares of `side` pixels."""
        self._check_side(side)
        contents, styles = (self._pictures[domain] for domain in DOMAINS)
        return TransferTask(contents, styles, self._pairs(contents, styles), side)

    def reconstruction(self, domain: Domain, side: int) -> ReconstructionTask:
        """All pictures of a domain, cut to squares of `side` pixels."""
        self._check_side(side)
        return ReconstructionTask(self._pictures[domain], side)

    def used(self, domain: Domain) -> DataUsed:
        """What is logged as a run's input."""
        pictures = self._pictures[domain]
        return DataUsed(domain, pictures.digest, self.source(domain), self._context, len(pictures))

    def source(self, domain: Domain) -> str:
        """Where the pictures came from, as the user wrote it."""
        own = {"content": self._selection.content, "style": self._selection.style}[domain]
        if own is not None or self._project is None:
            return str(own)
        return self._project.params().data.folder(domain)

    @property
    def stored_pairs(self) -> Path | None:
        """The project's file of the pairs, where they are evaluated."""
        if self._project is None or self._own or self._selection.pairs is not None or self._split == "train":
            return None
        return self._project.pairs(self._split)

    def label(self, digest: str) -> str:
        """Empty for what the pipeline evaluates: the test split, its stored pairs; else a name for the task."""
        stored = not self._own and self._split == "test" and self._selection.pairs is None
        return "" if stored else f"{'own' if self._own else self._split}_{digest[:8]}"

    @property
    def _context(self) -> str:
        return "evaluation" if self._own else self._split

    def _pairs(self, contents: PackedPictures, styles: PackedPictures) -> Pairs:
        if self.stored_pairs is not None:
            return read_pairs(self.stored_pairs, contents, styles)
        paired = not self._own and self._project is not None and self._project.params().data.paired
        known = partners(contents.files, styles.files) if paired else None
        count = self._selection.pairs or self._selection.default_pairs
        return chosen_pairs(contents, styles, known, count, self._selection.seed)

    def _check_side(self, side: int) -> None:
        shortest = min(pictures.short_side for pictures in self._pictures.values())
        if side > shortest:
            raise UserError(
                f"the model was trained at {side} pixels, the pictures are stored with {shortest}: "
                f"set data.short_side to at least {side} and run `quantart prepare`"
            )


@contextmanager
def open_data(project: Project | None, selection: Selection, side: int) -> Iterator[EvaluationData]:
    """The selected pictures; one's own are prepared in a temporary folder, once for all processes.

    Args:
        side: short side to which one's own pictures are scaled, in pixels.

    Raises:
        UserError: no picture, a folder that is missing, or no project to take them from.
    """
    if (selection.content is None) != (selection.style is None):
        raise UserError("--content and --style: give both, or neither for the project's held-out pictures")
    if selection.content is None or selection.style is None:
        if project is None:
            raise UserError(
                "no params.yaml here or in a folder above: give --content DIR and --style DIR to evaluate on"
            )
        yield EvaluationData(project, selection, {d: project.prepared(d) for d in DOMAINS}, selection.split)
        return
    sources: dict[Domain, Path] = {"content": selection.content, "style": selection.style}
    state = PartialState()
    with TemporaryDirectory(prefix="quantart-") as own:
        shared = [own]
        broadcast_object_list(shared)
        folders = {domain: Path(shared[0]) / domain for domain in DOMAINS}
        if state.is_main_process:
            for domain, source in sources.items():
                params = _unsplit(source, side)
                print(prepare_domain(source, folders[domain], params, domain=domain).summary())
        state.wait_for_everyone()
        yield EvaluationData(project, selection, folders, _OWN_SPLIT)
        state.wait_for_everyone()


def _unsplit(source: Path, side: int) -> DataParams:
    sizes = {"resolution": side, "short_side": side}
    return DataParams.model_validate(
        {"content": str(source), "style": str(source), "val_share": 0.0, "test_share": 0.0} | sizes
    )
