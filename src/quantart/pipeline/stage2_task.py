"""What stage 2 computes: network, losses, batches and validation of a style transfer, as the parameters ask for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from accelerate import Accelerator

from quantart.components.discriminator import NLayerDiscriminator
from quantart.data.batches import CodeBatches
from quantart.data.codes import StoredCodes
from quantart.data.pairs import Pairs
from quantart.data.pictures import PackedPictures
from quantart.evaluation.stage2_validation import validate_transfers
from quantart.losses.decoded import DecodedLoss
from quantart.losses.lpips import LPIPS
from quantart.losses.stage_2 import Stage2Loss
from quantart.models.stage_1 import ExperimentStage1
from quantart.models.stage_2 import ExperimentStage2
from quantart.training.loop import TrainingTask
from quantart.training.stage2_objective import Stage2Objective
from quantart.vocabulary.names import DOMAINS, Domain, Variant

if TYPE_CHECKING:
    from quantart.params import Params

_VARIANCE_ROWS = 256


def make_task(
    params: Params,
    variant: Variant,
    *,
    vqgans: Mapping[Domain, Path],
    codes: Mapping[Domain, StoredCodes],
    partners: Pairs | None,
    pictures: Mapping[Domain, PackedPictures],
    val: Mapping[Domain, PackedPictures],
    pairs: Pairs,
    accelerator: Accelerator,
) -> TrainingTask:
    """The training of `variant` between the VQGANs in the folders `vqgans`, on `codes` of the training `pictures`.

    Args:
        partners: indices of the training pictures that belong together; None: any photograph with any painting.
        pairs: indices of pairs of the validation pictures `val`.
    """
    side = params.data.resolution
    objective = make_objective(make_model(params, variant, vqgans), params, latent_variance(codes["style"]))
    batch = make_batches(codes, params, variant, accelerator, partners)

    def files(number: int) -> list[str]:
        return [
            f"{domain} {pictures[domain].files[place]}"
            for domain, rows in zip(DOMAINS, batch.rows(number), strict=True)
            for place in codes[domain].pictures_of(rows)
        ]

    return TrainingTask(
        name=f"stage 2, {variant}",
        section="stage2.train",
        resolution=side,
        objective=objective,
        batch=batch,
        files=files,
        validate=lambda model, _: validate_transfers(
            model, val["content"], val["style"], pairs, side, objective.loss.scale, accelerator.device
        ),
        discriminator_learning_rate_factor=params.stage2.discriminator.learning_rate_factor,
    )


def make_model(params: Params, variant: Variant, vqgans: Mapping[Domain, Path]) -> ExperimentStage2:
    """A new style transfer network between two trained VQGANs."""
    content, style = (ExperimentStage1.from_pretrained(vqgans[domain]) for domain in DOMAINS)
    return ExperimentStage2.from_stage1(content, style, variant=variant, **params.stage2.network.model_dump())


def latent_variance(codes: StoredCodes) -> float:
    """Variance of the latents over pictures and space, mean over channels."""
    latents = codes.latents(np.arange(min(len(codes), _VARIANCE_ROWS)))
    return float(latents.transpose(0, 1).flatten(1).var(dim=1).mean())


def make_objective(model: ExperimentStage2, params: Params, variance: float) -> Stage2Objective:
    """The training objective for a model whose style latents have `variance`."""
    weights, discriminator = params.stage2.loss, params.stage2.discriminator
    channels = model.config["embed_dim"]
    loss = Stage2Loss(
        NLayerDiscriminator(channels, discriminator.ndf, discriminator.n_layers) if discriminator.weight else None,
        content_weight=weights.content_weight,
        style_weight=weights.style_weight,
        codebook_weight=weights.codebook_weight,
        adversarial_weight=discriminator.weight,
        discriminator_start=discriminator.start,
        discriminator_weight=discriminator.weight,  # as the reference does in this stage alone
        kind=discriminator.loss,
        scale=1.0 / variance if weights.divide_by_variance else 1.0,
    )
    decoded = None
    if any(weights.decoded.values()):
        decoded = DecodedLoss(LPIPS(weights.perceptual_network), **weights.decoded)
    return Stage2Objective(model, loss, reference_order=discriminator.reference_order, decoded=decoded)


def make_batches(
    codes: Mapping[Domain, StoredCodes],
    params: Params,
    variant: Variant,
    accelerator: Accelerator,
    partners: Pairs | None = None,
) -> CodeBatches:
    """The batches of stored codes or latents that `variant` is trained on; see `make_task`."""
    training = params.stage2.train
    return CodeBatches(
        codes["content"],
        codes["style"],
        variant=variant,
        batch_size=training.batch_size,
        crop=training.crop,
        seed=params.seed,
        accelerator=accelerator,
        pairs=partners,
    )
