"""Which held-out pictures are measured together: chosen once, for the validation while training and for the evaluation.

A folder of pairs holds `val.csv` and `test.csv` (see `write_pairs`). Where the data is paired, it holds `unpaired.csv`
as well: every picture that has no partner, and why.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from quantart.data.files import pair_name
from quantart.data.pairs import Pairs, partners, write_pairs
from quantart.data.pictures import REPORT_FILE, PackedPictures, some_pictures, write_table
from quantart.errors import UserError
from quantart.machine.whole import whole_folder
from quantart.vocabulary.names import DOMAINS, SPLITS, Domain, Split

VALIDATION_PAIRS = 24
UNPAIRED_FILE = "unpaired.csv"
_NAMES_SHOWN = 10

log = logging.getLogger(__name__)


def pair_domains(folder: Path, prepared: Mapping[Domain, Path], *, paired: bool, test_pairs: int, seed: int) -> None:
    """Write the folder of pairs of the domains' `prepared` pictures; UserError where a split has no picture or pair.

    `paired`: pictures of the same name in both domains belong together.
    """
    counts: dict[Split, int] = {"val": VALIDATION_PAIRS, "test": test_pairs}
    with whole_folder(folder) as fresh:
        for split in SPLITS if paired else counts:
            contents, styles = (some_pictures(prepared[domain], split) for domain in DOMAINS)
            known = partners(contents.files, styles.files) if paired else None
            if known == []:
                raise UserError(
                    f"data.paired: no picture of split {split!r} has a partner, {contents.files[0]!r} and "
                    f"{styles.files[0]!r} for example have none",
                    "give partners the same path inside data.content and data.style, except for the file's ending",
                )
            if split in counts:
                pairs = choose_pairs(contents, styles, known, counts[split], seed)
                write_pairs(fresh / f"{split}.csv", contents, styles, pairs)
        if paired:
            _report_unpaired(prepared, fresh / UNPAIRED_FILE, folder / UNPAIRED_FILE)


def choose_pairs(contents: PackedPictures, styles: PackedPictures, known: Pairs | None, count: int, seed: int) -> Pairs:
    """At most `count` different pairs: of any content with any style, or some of the `known` ones in their order."""
    if known is not None:
        return [known[place] for place in sorted(np.random.default_rng(seed).permutation(len(known))[:count])]
    count = min(count, len(contents) * len(styles))
    return _apart(held_out_pairs(len(contents), len(styles), count, seed), contents.sha256, styles.sha256)


def held_out_pairs(n_content: int, n_style: int, pairs: int, seed: int) -> Pairs:
    """Indices `(content, style)` of the pairs; the same arguments always give the same list.

    Every picture is used about equally often (the numbers of uses differ by at most one), and no pair repeats before
    all `n_content · n_style` of them were used. With fewer pairs than pictures of a domain, the seed decides which
    pictures take part. The first pairs go through the photographs in order, each with another painting.
    """
    if min(n_content, n_style, pairs) < 1:
        raise ValueError(f"{pairs} pairs of {n_content} photographs and {n_style} paintings: each must be at least 1")
    draw = np.random.default_rng(seed)
    contents = sorted(draw.permutation(n_content)[:pairs].tolist())
    styles = draw.permutation(n_style)[:pairs].tolist()
    # Walking both lists in step meets each combination of a round once; the next round starts one painting further.
    round_length = math.lcm(len(contents), len(styles))
    return [(contents[k % len(contents)], styles[(k + k // round_length) % len(styles)]) for k in range(pairs)]


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


def _report_unpaired(prepared: Mapping[Domain, Path], path: Path, shown_as: Path) -> None:
    """Write the pictures that have no partner, with the reason, and warn of the first of them."""
    files = {
        domain: sorted({file for split in SPLITS for file in PackedPictures(prepared[domain], split).files})
        for domain in DOMAINS
    }
    alone: list[tuple[Domain, str, str]] = []
    for domain, other in (DOMAINS, DOMAINS[::-1]):
        names, lost = {pair_name(file) for file in files[other]}, _lost(prepared[other])
        for file in files[domain]:
            if (name := pair_name(file)) not in names:
                alone.append((domain, file, lost.get(name, f"no picture of this name in data.{other}")))
    write_table(path, ["domain", "file", "reason"], alone)
    if alone:
        shown = [f"  {domain} {file!r}: {reason}" for domain, file, reason in alone[:_NAMES_SHOWN]]
        more = [f"  and {len(alone) - _NAMES_SHOWN} more"] if len(alone) > _NAMES_SHOWN else []
        said = f"pair: {len(alone)} pictures have no partner and are in no pair; all of them are in {shown_as}:"
        log.warning("\n".join([said, *shown, *more]))


def _lost(prepared: Path) -> dict[str, str]:
    """Why pictures that a domain's source names were not kept, by the name that partners share."""
    report: dict[str, Any] = json.loads((prepared / REPORT_FILE).read_text(encoding="utf8"))
    lost = {each["file"]: f"its partner was set aside: {each['reason']}" for each in report["rejected"]}
    lost |= {each["file"]: f"its partner is the same picture as {each['same_as']}" for each in report["duplicates"]}
    return {pair_name(file): reason for file, reason in lost.items()}
