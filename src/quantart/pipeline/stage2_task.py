"""What stage 2 computes: network, losses, batches and validation of a style transfer, as the parameters ask for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from accelerate import Accelerator

from quantart.components.discriminator import NLayerDiscriminator
from quantart.components.twin_transfer import TwinTransferModule
from quantart.data.batches import CodeBatches, PairBatches
from quantart.data.codes import StoredCodes
from quantart.data.pairs import Pairs
from quantart.data.pictures import PackedPictures
from quantart.errors import UserError
from quantart.evaluation.stage2_validation import validate_transfers
from quantart.images.arrays import pixels_to_float
from quantart.losses.painting import PaintingLoss
from quantart.losses.reference import ReferenceLoss
from quantart.models.stage_1 import ExperimentStage1
from quantart.models.stage_2 import ExperimentStage2
from quantart.training.loop import TrainingTask
from quantart.training.objective import Objective
from quantart.training.painting_objective import PaintingObjective
from quantart.training.reference_objective import ReferenceObjective
from quantart.vocabulary.names import DOMAINS, Domain, Variant
from quantart.vocabulary.shape import downsampling

if TYPE_CHECKING:
    from quantart.params import Params

_PAINTINGS = 64  # from which the statistics of style latents are taken


@dataclass(frozen=True)
class TransferData:
    """What a style transfer is trained and validated on, by domain.

    Attributes:
        codes: of the training pictures; the reference objective alone reads them.
        partners: indices of the training pictures that belong together; None: any photograph with any painting.
        pairs: indices of pairs of the validation pictures.
    """

    train: Mapping[Domain, PackedPictures]
    codes: Mapping[Domain, StoredCodes]
    partners: Pairs | None
    val: Mapping[Domain, PackedPictures]
    pairs: Pairs


def make_task(
    params: Params,
    variant: Variant,
    *,
    vqgans: Mapping[Domain, Path],
    start: Path | None = None,
    data: TransferData,
    accelerator: Accelerator,
) -> TrainingTask:
    """The training of `variant` between the VQGANs in the folders `vqgans`, on from the model in the folder `start`."""
    side, stage2 = params.data.resolution, params.stage2
    model = make_model(params, variant, vqgans, start)
    objective: Objective
    batches: CodeBatches | PairBatches
    if stage2.objective == "painting":
        objective, batches = make_painting(model, params, data, accelerator)
    else:
        objective, batches = make_reference(model, params), make_code_batches(params, variant, data, accelerator)
    loss = objective.loss if isinstance(objective, PaintingObjective) else None

    def files(step: int) -> list[str]:
        pictures = zip(DOMAINS, batches.pictures(step), strict=True)
        return [f"{domain} {data.train[domain].files[place]}" for domain, places in pictures for place in places]

    return TrainingTask(
        name=f"stage 2, {variant}",
        section="stage2.train",
        resolution=side,
        objective=objective,
        batch=batches,
        files=files,
        validate=lambda model, done: validate_transfers(
            model,
            data.val["content"],
            data.val["style"],
            data.pairs,
            side,
            accelerator.device,
            loss=loss,
            quantize=loss is None or done > stage2.painting.quantize_from,
        ),
    )


def make_model(
    params: Params, variant: Variant, vqgans: Mapping[Domain, Path], start: Path | None = None
) -> ExperimentStage2:
    """A style transfer network, new or that of the model in `start`, between two trained VQGANs.

    Raises:
        UserError: the network in `start` has another shape; the keys are named.
    """
    content, style = (ExperimentStage1.from_pretrained(vqgans[domain]) for domain in DOMAINS)
    stage2 = params.stage2
    if stage2.objective == "reference":
        network = stage2.network.model_dump()
    else:
        sizes = stage2.painting.model_dump(include={"width", "coarse_blocks", "fine_blocks"})
        network = {"transfer_network": "twin", **sizes}
    weights = stage2.painting.weights
    model = ExperimentStage2.from_stage1(content, style, variant=variant, painting_weights=weights, **network)
    if start is not None:
        given = ExperimentStage2.from_pretrained(start)
        keys = ("embed_dim", *{"transfer_network": "", **network})
        if differing := [key for key in keys if given.config[key] != model.config[key]]:
            theirs = ", ".join(f"{key} ({given.config[key]}, here {model.config[key]})" for key in differing)
            raise UserError(f"stage2.init_from {start}: its transfer network differs in {theirs}")
        model.model_x2y.load_state_dict(given.model_x2y.state_dict())
    return model


def make_painting(
    model: ExperimentStage2, params: Params, data: TransferData, accelerator: Accelerator
) -> tuple[PaintingObjective, PairBatches]:
    """The objective `painting` and its batches of pictures."""
    painting, training = params.stage2.painting, params.stage2.train
    if params.stage2.init_from is None:  # a trained network goes on with its own
        standardise(model.to(accelerator.device), data.train["style"], params.data.resolution)
    loss = PaintingLoss(painting.weights, painting.perceptual_network)
    objective = PaintingObjective(model, loss, quantize_from=painting.quantize_from)
    batches = PairBatches(
        data.train["content"],
        data.train["style"],
        batch_size=training.batch_size,
        crop=training.crop * downsampling(model.config["ddconfig"]),
        seed=params.seed,
        accelerator=accelerator,
        pairs=data.partners,
        min_scale=painting.min_scale,
    )
    return objective, batches


@torch.no_grad()
def standardise(model: ExperimentStage2, paintings: PackedPictures, side: int) -> None:
    """Tell the transfer network the mean and deviation of the latents of some paintings."""
    chosen = np.linspace(0, len(paintings) - 1, min(_PAINTINGS, len(paintings))).astype(int)
    network = model.model_x2y
    if not isinstance(network, TwinTransferModule):
        raise TypeError(f"a {type(network).__name__} does not paint")
    pictures = (pixels_to_float(paintings.centre([place], side)) for place in chosen)
    network.standardise(torch.cat([model.style_latents(y.to(network.mean.device)) for y in pictures]))


def make_reference(model: ExperimentStage2, params: Params) -> ReferenceObjective:
    """The objective `reference`."""
    weights, discriminator = params.stage2.loss, params.stage2.discriminator
    channels = model.config["embed_dim"]
    # discriminator.weight has three uses: whether there is one, its part in the generator's loss, and that of its own
    loss = ReferenceLoss(
        NLayerDiscriminator(channels, discriminator.ndf, discriminator.n_layers) if discriminator.weight else None,
        **weights.model_dump(),
        adversarial_weight=discriminator.weight,
        discriminator_start=discriminator.start,
        discriminator_weight=discriminator.weight,  # as the reference does in this stage alone
        kind=discriminator.loss,
    )
    return ReferenceObjective(
        model,
        loss,
        reference_order=discriminator.reference_order,
        learning_rate_factor=discriminator.learning_rate_factor,
    )


def make_code_batches(params: Params, variant: Variant, data: TransferData, accelerator: Accelerator) -> CodeBatches:
    """The batches of stored codes or latents that the objective `reference` trains `variant` on."""
    training = params.stage2.train
    return CodeBatches(
        data.codes["content"],
        data.codes["style"],
        variant=variant,
        batch_size=training.batch_size,
        crop=training.crop,
        seed=params.seed,
        accelerator=accelerator,
        pairs=data.partners,
    )
