"""The pictures of an evaluation: a split of the project's, or folders of one's own."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from accelerate import PartialState
from accelerate.utils import broadcast_object_list

from quantart.data.originals import pack_originals
from quantart.data.packing import Geometry
from quantart.data.pairing import choose_pairs
from quantart.data.pairs import Pairs, partners, read_pairs
from quantart.data.pictures import PackedPictures, some_pictures
from quantart.data.prepare import prepare_domain
from quantart.errors import UserError
from quantart.evaluation.task import ReconstructionTask, TransferTask
from quantart.params.data import DataParams
from quantart.project import Project
from quantart.tracking.lineage import DataUsed
from quantart.vocabulary.names import DOMAINS, Domain, Split

_OWN_SPLIT: Split = "train"  # of pictures that are not split
_REASONS_SHOWN = 10
_IN_WORDS: dict[Split, str] = {"train": "training", "val": "validation", "test": "test"}
DEFAULT_PAIRS = 48  # of one's own pictures, without a project

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Selection:
    """Which pictures, and how many pairs of them."""

    split: Split = "test"  # of the project's prepared pictures
    content: Path | None = None  # folder (or other source, see `find_pictures`) of one's own in their place
    style: Path | None = None
    size: int | None = None  # side in pixels of the pairs' squares; None: as params.yaml says
    pairs: int | None = None  # None: those that the project has stored, or as many as params.yaml says

    @property
    def own(self) -> dict[Domain, Path]:
        """The sources of one's own, by domain."""
        given: dict[Domain, Path | None] = {"content": self.content, "style": self.style}
        return {domain: source for domain, source in given.items() if source is not None}


class EvaluationData:
    """Pictures of the domains in `folders`, and the pairs to evaluate."""

    def __init__(
        self, project: Project | None, selection: Selection, folders: dict[Domain, Path], split: Split, spare: Path
    ) -> None:
        """`spare` is a folder, shared by all processes, for pictures made from their originals."""
        self._spare = spare
        self._project = project
        self._selection = selection
        self._split = split
        self._pictures = {domain: some_pictures(folder, split) for domain, folder in folders.items()}

    def transfer_task(self, side: int) -> TransferTask:
        """The pairs as squares of `side` pixels, cut from the stored pictures.

        If these are smaller, the squares come from the original pictures, scaled to a short side of `side`.
        """
        contents, styles = (self._pictures[domain] for domain in DOMAINS)
        pairs = self._pairs(contents, styles)
        if self._project is None or self._selection.own or side <= min(contents.short_side, styles.short_side):
            return TransferTask(contents, styles, pairs, side)
        chosen = [sorted(set(each)) for each in zip(*pairs, strict=True)]
        larger = [self._originals(self._project, domain, of, side) for domain, of in zip(DOMAINS, chosen, strict=True)]
        moved = [(chosen[0].index(content), chosen[1].index(style)) for content, style in pairs]
        return TransferTask(larger[0], larger[1], moved, side)

    def reconstruction_task(self, domain: Domain, side: int) -> ReconstructionTask:
        """All pictures of a domain, cut to squares of `side` pixels."""
        self._check_side(side)
        return ReconstructionTask(self._pictures[domain], side)

    def used(self, domain: Domain) -> DataUsed:
        """What is logged as a run's input."""
        pictures = self._pictures[domain]
        context = "test" if self._selection.own else _IN_WORDS[self._split]
        return DataUsed(domain, pictures.digest, self.source(domain), context, len(pictures))

    def source(self, domain: Domain) -> str:
        """Where the pictures came from, as the user wrote it."""
        if self._project is None or domain in self._selection.own:
            return str(self._selection.own[domain])
        return self._project.params().data.folder(domain)

    @property
    def stored_pairs(self) -> Path | None:
        """The project's file of the pairs, where they are evaluated."""
        if self._project is None or self._selection.own or self._selection.pairs is not None or self._split == "train":
            return None
        return self._project.pairs(self._split)

    def label(self, digest: str) -> str:
        """Empty for what the pipeline evaluates: the test split, its stored pairs; else a name for the task."""
        own = bool(self._selection.own)
        stored = not own and self._split == "test" and not (self._selection.pairs or self._selection.size)
        return "" if stored else f"{'own' if own else self._split}_{digest[:8]}"

    def _pairs(self, contents: PackedPictures, styles: PackedPictures) -> Pairs:
        if self.stored_pairs is not None:
            return read_pairs(self.stored_pairs, contents, styles)
        params = self._project.params() if self._project else None
        paired = params is not None and params.data.paired and not self._selection.own
        known = partners(contents.files, styles.files) if paired else None
        count = self._selection.pairs or (params.evaluate.pairs if params else DEFAULT_PAIRS)
        return choose_pairs(contents, styles, known, count, params.seed if params else 0)

    def _originals(self, project: Project, domain: Domain, chosen: Sequence[int], side: int) -> PackedPictures:
        folder, data, state = self._spare / f"{domain}_{side}", project.params().data, PartialState()
        if state.is_main_process:
            geometry = Geometry(side, data.max_aspect, data.max_pixels, data.resize == "squash")
            places = project.source(domain), data.table(domain), project.source_root(domain)
            pack_originals(self._pictures[domain], chosen, folder, geometry, *places)
        state.wait_for_everyone()
        return PackedPictures(folder, "test")

    def _check_side(self, side: int) -> None:
        shortest = min(pictures.short_side for pictures in self._pictures.values())
        if side > shortest:
            fault = f"the model was trained at {side} pixels, the pictures are stored with {shortest}"
            raise UserError(fault, f"set data.short_side to at least {side} and run `quantart prepare`")


@contextmanager
def open_data(
    project: Project | None, selection: Selection, side: int, domains: Sequence[Domain]
) -> Iterator[EvaluationData]:
    """The selected pictures of `domains`.

    One's own are scaled to a short side of `side` pixels in a temporary folder, once for all processes. So are the
    project's where `side` is more than they are stored with.
    """
    own = {domain: source for domain, source in selection.own.items() if domain in domains}
    missing = [domain for domain in domains if domain not in own]
    if missing and (selection.own or project is None):
        raise UserError(_missing(missing, domains, project))
    state = PartialState()
    with TemporaryDirectory(prefix="quantart-") as folder:
        shared = [folder]
        broadcast_object_list(shared)
        spare = Path(shared[0])
        if project is not None and not selection.own:
            prepared = {domain: project.prepared(domain) for domain in domains}
            yield EvaluationData(project, selection, prepared, selection.split, spare)
            state.wait_for_everyone()
            return
        folders = {domain: spare / domain for domain in own}
        if state.is_main_process:
            for domain, source in own.items():
                report = prepare_domain(
                    source, folders[domain], _unsplit(source, side), domain=domain, called=f"--{domain}"
                )
                # their report goes with the temporary folder
                counts = f"{report.found} pictures found, {report.kept} used, {len(report.duplicates)} duplicates"
                log.info("--%s: %s, %d that can't be used", domain, counts, len(report.rejected))
                for file, reason in report.rejected[:_REASONS_SHOWN]:
                    log.info("  %r: %s", file, reason)
        state.wait_for_everyone()
        yield EvaluationData(project, selection, folders, _OWN_SPLIT, spare)
        state.wait_for_everyone()


def _missing(missing: Sequence[Domain], needed: Sequence[Domain], project: Project | None) -> str:
    """Which sources this model needs beside those that were given."""
    lacking, all_needed = (" and ".join(f"--{domain} DIR" for domain in domains) for domains in (missing, needed))
    if project is None and len(missing) == len(needed):
        return f"no params.yaml here or in a folder above: give {all_needed} to evaluate on"
    rest = ", or none of your own for the project's held-out pictures" if project else ""
    return f"this model is evaluated on pictures of {' and '.join(needed)}, and {lacking} is missing; give it{rest}"


def _unsplit(source: Path, side: int) -> DataParams:
    sources = {"content": str(source), "style": str(source), "resolution": side, "short_side": side}
    return DataParams.model_validate(sources | {"val_share": 0.0, "test_share": 0.0})
