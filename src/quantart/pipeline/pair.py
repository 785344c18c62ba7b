"""Pair: fix once which held-out pictures are measured together, while training (val) and in the evaluation (test)."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from quantart.data.files import pair_name
from quantart.data.index import read_index, write_table
from quantart.data.pairs import Pairs, partners, write_pairs
from quantart.data.pictures import PackedPictures
from quantart.data.prepare import REPORT_FILE
from quantart.errors import UserError
from quantart.evaluation.pairs import held_out_pairs
from quantart.machine.whole import whole_folder
from quantart.project import Project
from quantart.vocabulary.names import DOMAINS, SPLITS, Domain, Split

if TYPE_CHECKING:
    from quantart.tracking.runs import StageRun
    from quantart.tracking.session import SpooledRun

VALIDATION_PAIRS = 24
UNPAIRED_FILE = "unpaired.csv"
NAMES_SHOWN = 10


def run(project: Project) -> None:
    """Write `data/pairs/val.csv` and `test.csv`; with `data.paired` also `unpaired.csv`: what has no partner, and why.

    Raises:
        UserError: wrong parameters, or a split without a picture or without a pair.
    """
    params = project.params()
    project.check_writable()
    counts: dict[Split, int] = {"val": VALIDATION_PAIRS, "test": params.evaluate.pairs}
    with whole_folder(project.pairs("test").parent) as fresh:
        for split in SPLITS if params.data.paired else counts:
            contents, styles = (PackedPictures(project.prepared(domain), split) for domain in DOMAINS)
            known = partners(contents.files, styles.files) if params.data.paired else None
            _check(project, split, contents, styles, known)
            if split in counts:
                pairs = chosen_pairs(contents, styles, known, counts[split], params.seed)
                write_pairs(fresh / f"{split}.csv", contents, styles, pairs)
        if params.data.paired:
            _report_unpaired(project, fresh / UNPAIRED_FILE)


def log_pairs(run: StageRun | SpooledRun, path: Path) -> None:
    """Keep a file of pairs with a run: as the artifact `pairs/<split>.csv`, its sha256 as the tag `pairs.<split>`."""
    run.artifact(path, "pairs")
    run.set_tags({f"pairs.{path.stem}": hashlib.sha256(path.read_bytes()).hexdigest()})


def chosen_pairs(contents: PackedPictures, styles: PackedPictures, known: Pairs | None, count: int, seed: int) -> Pairs:
    """At most `count` different pairs: of any content with any style, or some of the `known` ones in their order."""
    if known is not None:
        return [known[place] for place in sorted(np.random.default_rng(seed).permutation(len(known))[:count])]
    count = min(count, len(contents) * len(styles))
    return _apart(held_out_pairs(len(contents), len(styles), count, seed), contents.sha256, styles.sha256)


def _apart(pairs: Pairs, contents: Sequence[str], styles: Sequence[str]) -> Pairs:
    """The pairs, none of them a picture with itself where another pair's style can stand in (sha256 of the files)."""
    left, right = [c for c, _ in pairs], [s for _, s in pairs]
    for place, content in enumerate(left):
        if contents[content] == styles[right[place]]:
            for other in range(len(pairs)):
                if contents[content] != styles[right[other]] and contents[left[other]] != styles[right[place]]:
                    right[place], right[other] = right[other], right[place]
                    break
    return list(zip(left, right, strict=True))


def _check(
    project: Project, split: Split, contents: PackedPictures, styles: PackedPictures, known: Pairs | None
) -> None:
    for domain, pictures in zip(DOMAINS, (contents, styles), strict=True):
        if not len(pictures):
            raise UserError(
                f"{project.prepared(domain)}: no picture in split {split!r}; raise data.{split}_share or add pictures"
            )
    if known == []:
        raise UserError(
            f"data.paired: no picture of split {split!r} has a partner; partners have the same path inside "
            f"data.content and data.style but for the ending, as {contents.files[0]!r} and {styles.files[0]!r} do not"
        )


def _report_unpaired(project: Project, path: Path) -> None:
    """Write the pictures that have no partner, with the reason, and say the first of them."""
    files = {domain: [row.file for row in read_index(project.prepared(domain))] for domain in DOMAINS}
    alone: list[tuple[Domain, str, str]] = []
    for domain, other in (DOMAINS, DOMAINS[::-1]):
        names, lost = {pair_name(file) for file in files[other]}, _lost(project, other)
        for file in files[domain]:
            if (name := pair_name(file)) not in names:
                alone.append((domain, file, lost.get(name, f"no picture of this name in data.{other}")))
    write_table(path, ["domain", "file", "reason"], alone)
    if not alone:
        return
    shown = [f"  {domain} {file!r}: {reason}" for domain, file, reason in alone[:NAMES_SHOWN]]
    more = [f"  and {len(alone) - NAMES_SHOWN} more"] if len(alone) > NAMES_SHOWN else []
    print(
        f"pair: {len(alone)} pictures have no partner and are in no pair; all are in data/pairs/{UNPAIRED_FILE}:",
        *shown,
        *more,
        sep="\n",
        file=sys.stderr,
    )


def _lost(project: Project, domain: Domain) -> dict[str, str]:
    """Why pictures that a domain's source names were not kept, by the name that partners share."""
    report: dict[str, Any] = json.loads((project.prepared(domain) / REPORT_FILE).read_text(encoding="utf8"))
    rejected = {pair_name(each["file"]): f"its partner was set aside: {each['reason']}" for each in report["rejected"]}
    duplicates = {
        pair_name(each["file"]): f"its partner is the same picture as {each['same_as']}"
        for each in report["duplicates"]
    }
    return rejected | duplicates
