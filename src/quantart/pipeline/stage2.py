"""Stage 2: train the style transfer network on stored codes (discrete) or latents (continuous)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from accelerate import Accelerator

from quantart.components.discriminator import NLayerDiscriminator
from quantart.data.batches import CodeBatches, Rows
from quantart.data.codes import StoredCodes
from quantart.data.pairs import Pairs, partners, read_pairs
from quantart.data.pictures import PackedPictures
from quantart.errors import UserError
from quantart.evaluation.metrics import latent_content, latent_style
from quantart.images import picture_grid, pixels_to_float, to_arrays
from quantart.losses.decoded import DecodedLoss
from quantart.losses.lpips import LPIPS
from quantart.losses.stage_2 import Stage2Loss
from quantart.models.pretrained import file_sha256
from quantart.models.stage_1 import ExperimentStage1
from quantart.models.stage_2 import ExperimentStage2
from quantart.params import Params
from quantart.pipeline.training import GRID_ROWS, run_training
from quantart.project import Project
from quantart.tracking.links import read_link
from quantart.tracking.runs import DataUsed
from quantart.training.loop import Pictures, Task
from quantart.training.transfer_step import Stage2Step
from quantart.vocabulary.names import DOMAINS, Domain, Variant


def run(project: Project, variant: Variant) -> None:
    """Train the style transfer network of `variant` into `models/stage2_<variant>`.

    Raises:
        UserError: the parameters, the stored codes, the pairs or the stage-1 models are not there or don't fit.
    """
    params = project.params()
    project.check_writable()
    codes = {domain: StoredCodes(project.codes(domain), "train") for domain in DOMAINS}
    pictures = [PackedPictures(project.prepared(domain), "val") for domain in DOMAINS]
    pairs = read_pairs(project.pairs("val"), pictures[0], pictures[1])
    known = training_partners(project, codes) if params.data.paired else None

    def make_task(accelerator: Accelerator) -> Task:
        model = make_model(project, params, variant)
        step = make_step(model, params, latent_variance(codes["style"]))
        batch = make_batches(codes, params, variant, accelerator, known)
        return Task(
            name=f"stage 2, {variant}",
            section="stage2.train",
            resolution=params.data.resolution,
            step=step,
            batch=batch,
            files=lambda number: batch_files(project, codes, batch.rows(number)),
            validate=lambda m, _: validate(
                m, pictures[0], pictures[1], pairs, params.data.resolution, step.loss.scale, accelerator.device
            ),
            discriminator_learning_rate_factor=params.stage2.discriminator.learning_rate_factor,
        )

    run_training(
        project,
        stage=f"stage2_{variant}",
        parameters={
            "variant": variant,
            "resolution": params.data.resolution,
            "paired": params.data.paired,
            **params.stage2.model_dump(),
        },
        training=params.stage2.train,
        datasets=[
            DataUsed(domain, stored.index["pictures"]["train"], params.data.folder(domain), "training", stored.pictures)
            for domain, stored in codes.items()
        ],
        codes=[stored.index for stored in codes.values()],
        validated_on=[*(p.digest for p in pictures), file_sha256(project.pairs("val"))],
        upstream={f"stage1_{domain}": read_link(project.link(f"stage1_{domain}")).run_id for domain in DOMAINS},
        seed=params.seed,
        make_task=make_task,
        out=project.stage2_model(variant),
        pairs=project.pairs("val"),
    )


def make_model(project: Project, params: Params, variant: Variant) -> ExperimentStage2:
    content, style = (ExperimentStage1.from_pretrained(project.stage1_model(domain)) for domain in DOMAINS)
    return ExperimentStage2.from_stage1(content, style, variant=variant, **params.stage2.network.model_dump())


def latent_variance(codes: StoredCodes) -> float:
    """Variance of the latents over pictures and space, mean over channels."""
    latents = codes.latents(np.arange(min(len(codes), 256)))
    return float(latents.transpose(0, 1).flatten(1).var(dim=1).mean())


def make_step(model: ExperimentStage2, params: Params, variance: float) -> Stage2Step:
    """The training step of `params` for a model whose style latents have `variance`."""
    weights, disc = params.stage2.loss, params.stage2.discriminator
    loss = Stage2Loss(
        NLayerDiscriminator(params.model.embed_dim, disc.ndf, disc.n_layers) if disc.weight else None,
        reverse_weight=weights.content_weight,
        style_weight=weights.style_weight,
        codebook_weight=weights.codebook_weight,
        disc_start=disc.start,
        disc_factor=disc.weight,
        disc_loss=disc.loss,
        scale=1.0 / variance if weights.divide_by_variance else 1.0,
    )
    decoded = None
    if any(weights.decoded.values()):
        decoded = DecodedLoss(LPIPS(weights.perceptual_network), **weights.decoded)
    return Stage2Step(model, loss, reference_order=disc.reference_order, decoded=decoded)


def make_batches(
    codes: Mapping[Domain, StoredCodes],
    params: Params,
    variant: Variant,
    accelerator: Accelerator,
    pairs: Pairs | None = None,
) -> CodeBatches:
    """Batches of stored codes or latents as `params` ask for; `pairs` None: any photograph with any painting."""
    training = params.stage2.train
    return CodeBatches(
        codes["content"],
        codes["style"],
        variant=variant,
        batch_size=training.batch_size,
        crop=training.crop,
        seed=params.seed,
        accelerator=accelerator,
        pairs=pairs,
    )


def batch_files(project: Project, codes: dict[Domain, StoredCodes], rows: Sequence[Rows]) -> list[str]:
    """What the pictures are called that rows of content's and style's codes were made from."""
    names = []
    for (domain, stored), own in zip(codes.items(), rows, strict=True):
        files = PackedPictures(project.prepared(domain), "train").files
        names += [f"{domain} {files[place]}" for place in stored.pictures_of(own)]
    return names


def training_partners(project: Project, codes: dict[Domain, StoredCodes]) -> Pairs:
    """Places of partners among the training pictures that the codes were made from.

    Raises:
        UserError: the codes are of other pictures than the prepared ones, were not made for pairs, or have no partners.
    """
    pictures = {domain: PackedPictures(project.prepared(domain), "train") for domain in DOMAINS}
    copies = codes["content"].index["copies"]
    for domain, stored in codes.items():
        same = stored.index["pictures"]["train"] == pictures[domain].digest and stored.index["copies"] == copies
        if not same or not stored.index.get("paired"):
            raise UserError(
                f"{stored.folder}: its codes are of other pictures or not for pairs; run `quantart encode` again"
            )
    if not (known := partners(pictures["content"].files, pictures["style"].files)):
        raise UserError("data.paired: no training picture has a partner; run `quantart pair`, which lists them")
    return known


def validate(
    model: ExperimentStage2,
    content_pictures: PackedPictures,
    style_pictures: PackedPictures,
    pairs: Sequence[tuple[int, int]],
    resolution: int,
    scale: float,
    device: torch.device,
) -> tuple[dict[str, float], Pictures]:
    """Latent distances on validation pairs, in units of the latents' variance; a grid of content, style, output."""
    contents = pixels_to_float(content_pictures.centre([content for content, _ in pairs], resolution))
    styles = pixels_to_float(style_pictures.centre([style for _, style in pairs], resolution))
    content_distances, style_distances, outputs = [], [], []
    for x, y in zip(contents.to(device).split(8), styles.to(device).split(8), strict=True):
        content, style = model.content_latents(x), model.style_latents(y)
        z = model.transfer(content, style).z
        content_distances.append(latent_content(z, content) * scale)
        style_distances.append(latent_style(z, style) * scale)
        outputs.append(model.decode(z).float().clamp(-1, 1).cpu())
    metrics = {
        "val/latent_content": float(torch.cat(content_distances).mean()),
        "val/latent_style": float(torch.cat(style_distances).mean()),
    }
    columns = (to_arrays(part[:GRID_ROWS]) for part in (contents, styles, torch.cat(outputs)))
    grid = picture_grid([list(row) for row in zip(*columns, strict=True)], ["content", "style", "output"])
    return metrics, {"val/transfers": grid}
