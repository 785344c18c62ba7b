"""Stage 2: train the style transfer network on stored codes (discrete) or latents (continuous)."""

from __future__ import annotations

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor

from quantart.components.discriminator import NLayerDiscriminator
from quantart.data.batches import Schedule, share
from quantart.data.codes import StoredCodes
from quantart.data.pictures import PackedPictures
from quantart.evaluation.metrics import latent_content, latent_style
from quantart.images import picture_grid, pixels_to_float, to_arrays
from quantart.losses.stage_2 import Stage2Loss
from quantart.models.stage_1 import ExperimentStage1
from quantart.models.stage_2 import ExperimentStage2
from quantart.params import DOMAINS, Params, Variant
from quantart.pipeline.training import GRID_ROWS, VALIDATION_PICTURES, run_training
from quantart.project import Project
from quantart.tracking.links import read_link
from quantart.tracking.runs import DataUsed
from quantart.training.loop import Pictures, Task
from quantart.training.stage_2 import Stage2Step


def run(project: Project, variant: Variant) -> None:
    """Train the style transfer network of `variant` into `models/stage2_<variant>`.

    Raises:
        UserError: the parameters, the stored codes or the stage-1 models are not there or don't fit.
    """
    params = project.params()
    codes = {domain: StoredCodes(project.codes(domain), "train") for domain in DOMAINS}

    def make_task(accelerator: Accelerator) -> Task:
        model = make_model(project, params, variant)
        step = make_step(model, params, latent_variance(codes["style"]))
        pictures = [PackedPictures(project.prepared(domain), "val") for domain in DOMAINS]
        return Task(
            name=f"stage 2, {variant}",
            step=step,
            batch=Batches(codes["content"], codes["style"], params, variant, accelerator),
            validate=lambda m, _: validate(
                m, pictures[0], pictures[1], params.data.resolution, step.loss.scale, accelerator.device
            ),
            discriminator_learning_rate_factor=params.stage2.discriminator.learning_rate_factor,
        )

    run_training(
        project,
        stage=f"stage2_{variant}",
        parameters={"variant": variant, "resolution": params.data.resolution, **params.stage2.model_dump()},
        training=params.stage2.train,
        datasets=[
            DataUsed(domain, stored.index["pictures"]["train"], params.data.folder(domain), "training", stored.pictures)
            for domain, stored in codes.items()
        ],
        upstream={f"stage1_{domain}": read_link(project.link(f"stage1_{domain}")).run_id for domain in DOMAINS},
        seed=params.seed,
        make_task=make_task,
        out=project.stage2_model(variant),
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
        NLayerDiscriminator(params.model.embed_dim, disc.ndf, disc.n_layers),
        reverse_weight=weights.content_weight,
        style_weight=weights.style_weight,
        codebook_weight=weights.codebook_weight,
        disc_start=disc.start,
        disc_factor=disc.weight,
        disc_loss=disc.loss,
        scale=1.0 / variance if weights.divide_by_variance else 1.0,
    )
    return Stage2Step(model, loss, reference_order=disc.reference_order)


class Batches:
    """Random (content, style) pairs of stored codes or latents, cut at random places."""

    def __init__(
        self, content: StoredCodes, style: StoredCodes, params: Params, variant: Variant, accelerator: Accelerator
    ) -> None:
        size = params.stage2.train.batch_size
        self._sources = [
            (stored, Schedule(len(stored), size, seed=params.seed, stream=stream))
            for stream, stored in enumerate((content, style))
        ]
        self._share = share(size, accelerator.process_index, accelerator.num_processes)
        self._crop = params.stage2.train.crop
        self._discrete = variant == "discrete"
        self._device = accelerator.device

    def __call__(self, step: int) -> tuple[Tensor, Tensor]:
        """This process's content and style: codes `(b, crop, crop)` or latents `(b, c, crop, crop)`."""
        content, style = (self._read(stored, schedule, step) for stored, schedule in self._sources)
        return content, style

    def _read(self, stored: StoredCodes, schedule: Schedule, step: int) -> Tensor:
        rows, draws = schedule.indices(step)[self._share], schedule.draws(step, 2)[self._share]
        read = stored.codes if self._discrete else stored.latents
        return read(rows, self._crop, draws).to(self._device, non_blocking=True)


def validate(
    model: ExperimentStage2,
    content_pictures: PackedPictures,
    style_pictures: PackedPictures,
    resolution: int,
    scale: float,
    device: torch.device,
) -> tuple[dict[str, float], Pictures]:
    """Latent distances on validation pairs, in units of the latents' variance; a grid of content, style, output."""
    pairs = np.arange(VALIDATION_PICTURES)
    contents = pixels_to_float(content_pictures.centre(pairs % len(content_pictures), resolution))
    styles = pixels_to_float(style_pictures.centre(pairs % len(style_pictures), resolution))
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
