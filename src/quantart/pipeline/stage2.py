"""Runs stage 2: trains the style transfer network on pictures, or as published on their stored codes or latents."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from quantart.data.codes import StoredCodes
from quantart.data.pairs import Pairs, partners, read_pairs
from quantart.data.pictures import PackedPictures
from quantart.errors import UserError
from quantart.models.shipped import model_folder
from quantart.pipeline.code import check_ready
from quantart.pipeline.stage2_task import TransferData, make_task
from quantart.pipeline.training import CODES, PICTURES, TrackedTraining, prepared_pictures, run_training, with_data
from quantart.project import Project
from quantart.vocabulary.names import DOMAINS, Domain, Variant


def run(project: Project, variant: Variant, data: str | None = None) -> None:
    """Train the style transfer network of `variant` into `models/stage2_<variant>`.

    `data` is the address of a store with the pictures, their codes and pairs; None: the project's own are read.
    """
    params = project.params()
    check_ready(project, "stage2")
    read = [PICTURES, *([CODES] if params.stage2.objective == "reference" else [])]
    names = [name.format(domain) for name in read for domain in DOMAINS]
    project = with_data(project, data, ["pairs/val.csv", *names])
    vqgans = {domain: project.stage1_model(domain) for domain in DOMAINS}
    named = params.stage2.init_from
    start = model_folder(named, "stage2_discrete", project.root) if named else None  # both variants have one network
    train, val = prepared_pictures(project, DOMAINS)
    pairs = read_pairs(project.pairs("val"), val["content"], val["style"])
    codes: dict[Domain, StoredCodes] = {}
    if params.stage2.objective == "reference":
        codes = {domain: StoredCodes(project.codes(domain)) for domain in DOMAINS}
        check_codes(codes, train, paired=params.data.paired)
    known = training_partners(train) if params.data.paired else None
    used = TransferData(train, codes, known, val, pairs)
    run_training(
        project,
        params,
        TrackedTraining(
            stage=f"stage2_{variant}",
            training=params.stage2.train,
            make_task=partial(make_task, params, variant, vqgans=vqgans, start=start, data=used),
            train=train,
            val=val,
            networks={f"stage1_{domain}": folder for domain, folder in vqgans.items()}
            | ({"init_from": start} if start else {}),
            out=project.stage2_model(variant),
            codes=[stored.index for stored in codes.values()],
            pairs=project.pairs("val"),
        ),
    )


def check_codes(
    codes: Mapping[Domain, StoredCodes], pictures: Mapping[Domain, PackedPictures], *, paired: bool
) -> None:
    """Raise `UserError` where codes were made from other pictures than these, or not for pairs and should be."""
    copies = codes["content"].index["copies"]
    for domain, stored in codes.items():
        same = stored.index["pictures"]["train"] == pictures[domain].digest and stored.index["copies"] == copies
        if not same or (paired and not stored.index.get("paired")):
            raise UserError(
                f"{stored.folder}: its codes are of other pictures or not for pairs", "run `quantart encode` again"
            )


def training_partners(pictures: Mapping[Domain, PackedPictures]) -> Pairs:
    """Indices of partners among the training pictures."""
    if not (known := partners(pictures["content"].files, pictures["style"].files)):
        raise UserError("data.paired: no training picture has a partner", "run `quantart pair`, which lists them")
    return known
