"""Runs stage 1: trains a VQGAN on both domains (base), or continues it on one domain."""

from __future__ import annotations

import logging
import shutil
from functools import partial
from pathlib import Path
from typing import get_args

from quantart.errors import UserError
from quantart.machine.whole import whole_folder
from quantart.models.folder import DISCRIMINATOR
from quantart.models.shipped import Part, model_folder
from quantart.params import Params
from quantart.params.training import VQGAN_KEYS
from quantart.pipeline.code import check_ready
from quantart.pipeline.stage1_task import make_model, make_task
from quantart.pipeline.training import PICTURES, TrackedTraining, keep_model, prepared_pictures, run_training, with_data
from quantart.project import Project
from quantart.tracking.runs import stage_run
from quantart.training.launch import make_accelerator
from quantart.vocabulary.names import DOMAINS, Domain, Stage1Domain

log = logging.getLogger(__name__)


def run(project: Project, domain: Stage1Domain, data: str | None = None) -> None:
    """Train the VQGAN of `domain` into `models/stage1_<domain>`, or take over the one that params.yaml names.

    `data` is the address of a store with the prepared pictures; None: the project's own are read.
    """
    params = project.params()
    check_ready(project, "stage1_base" if domain == "base" else "stage1")
    _check_given(project, params)
    if (given := params.stage1.given_vqgans.get(domain)) is None:
        _train(project, params, domain, data)
    else:
        _take_over(project, params, domain, given)


def _train(project: Project, params: Params, domain: Stage1Domain, data: str | None) -> None:
    domains: tuple[Domain, ...] = DOMAINS if domain == "base" else (domain,)
    project = with_data(project, data, [PICTURES.format(each) for each in domains])
    train, val = prepared_pictures(project, domains)
    start = None if domain == "base" else project.stage1_model("base")
    run_training(
        project,
        params,
        TrackedTraining(
            stage=f"stage1_{domain}",
            training=params.stage1.training(domain),
            make_task=partial(make_task, params, domain, train, val, start),
            train=train,
            val=val,
            networks={} if start is None else {"stage1_base": start},
            out=project.stage1_model(domain),
        ),
    )


def _take_over(project: Project, params: Params, domain: Stage1Domain, given: str) -> None:
    """Make a VQGAN that exists already the stage's result: its folder, tracked run and link, without training."""
    accelerator = make_accelerator(params.seed)
    out, stage = project.stage1_model(domain), f"stage1_{domain}"
    source = _given(project, domain, given)
    if accelerator.is_main_process:
        told = {"domain": domain, "taken_from": given, **params.select(["data.resolution", "model"])}
        with stage_run(project.root, family="stage1", name=stage, params=told) as run:
            with whole_folder(out) as fresh:
                make_model(params, source).save_pretrained(fresh)
                if (source / DISCRIMINATOR).is_file():
                    shutil.copyfile(source / DISCRIMINATOR, fresh / DISCRIMINATOR)
            keep_model(project, stage, out, run)
        log.info("%s: taken over from %s, nothing to train", stage, source)
    accelerator.wait_for_everyone()
    accelerator.end_training()


def _check_given(project: Project, params: Params) -> None:
    """Open every VQGAN that params.yaml names, so that a mistake in one already stops the first stage."""
    written = {project.stage1_model(domain).resolve() for domain in get_args(Stage1Domain)}
    for domain, given in params.stage1.given_vqgans.items():
        key = f"stage1.{VQGAN_KEYS[domain]}"
        folder = _given(project, domain, given)
        if folder.resolve() in written:
            raise UserError(
                f"{key} {given}: the pipeline itself writes this folder, and empties it before it runs the stage",
                "copy it elsewhere and name the copy",
            )
        try:
            model = make_model(params, folder)
        except UserError as error:
            raise UserError(f"{key}: {error.fault}", error.remedy) from None
        if domain == "base" and not model.latents_decode and not params.stage1.given_vqgans.keys() >= set(DOMAINS):
            raise UserError(
                f"{key} {given}: its codes come from a Gumbel codebook, from which no VQGAN can be trained further",
                "name VQGANs in stage1.content_from and stage1.style_from too",
            )


def _given(project: Project, domain: Stage1Domain, given: str) -> Path:
    parts: dict[Stage1Domain, Part] = {"base": "stage1_base", "content": "stage1_content", "style": "stage1_style"}
    return model_folder(given, parts[domain], project.root)
