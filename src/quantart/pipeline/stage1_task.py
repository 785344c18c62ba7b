"""What stage 1 computes: network, losses, batches and validation of a VQGAN, as the parameters ask for."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accelerate import Accelerator
from safetensors.torch import load_file

from quantart.components.codebook import EmaCodebook, KMeansCodebook
from quantart.components.colour_gain import amplify_colour
from quantart.components.discriminator import NLayerDiscriminator
from quantart.data.batches import PictureBatches
from quantart.data.pictures import PackedPictures
from quantart.errors import UserError
from quantart.evaluation.stage1_validation import validate_reconstructions
from quantart.losses.lpips import LPIPS
from quantart.losses.stage_1 import Stage1Loss
from quantart.models.folder import DISCRIMINATOR
from quantart.models.stage_1 import ExperimentStage1
from quantart.training.loop import TrainingTask
from quantart.training.stage1_objective import Stage1Objective

if TYPE_CHECKING:
    from quantart.params import Params
    from quantart.vocabulary.names import Domain, Stage1Domain

log = logging.getLogger(__name__)


def make_task(
    params: Params,
    domain: Stage1Domain,
    train: Mapping[Domain, PackedPictures],
    val: Mapping[Domain, PackedPictures],
    start: Path | None,
    accelerator: Accelerator,
) -> TrainingTask:
    """The training of `domain`, with new weights or on from the VQGAN in the folder `start`."""
    training, side = params.stage1.training(domain), params.data.resolution
    objective = make_objective(make_model(params, start), params, domain)
    if start is not None and objective.loss.discriminator is not None:
        _continue_discriminator(objective.loss.discriminator, start / DISCRIMINATOR, accelerator)
    judge = objective.loss.perceptual or LPIPS(params.stage1.loss.perceptual_network).to(accelerator.device)
    batch = PictureBatches(
        train, batch_size=training.batch_size, crop=training.crop, seed=params.seed, accelerator=accelerator
    )
    pictures = list(val.values())
    return TrainingTask(
        name=f"stage 1, {domain}",
        section="stage1.base" if domain == "base" else "stage1.domain",
        resolution=side,
        objective=objective,
        batch=batch,
        files=batch.files,
        validate=lambda model, done: validate_reconstructions(
            model, pictures, judge, side, accelerator.device, quantize=done > training.quantize_from
        ),
    )


def make_model(params: Params, start: Path | None) -> ExperimentStage1:
    """A VQGAN of the shape and with the codebook loss of params.yaml; its weights are new or those in `start`.

    Raises:
        UserError: the VQGAN in `start` has another shape; the keys are named.
    """
    shape, quantizer = params.model, params.stage1.quantizer
    model = ExperimentStage1(
        shape.ddconfig(params.data.resolution),
        shape.n_embed,
        shape.embed_dim,
        **quantizer.model_dump(include={"beta", "legacy", "cosine", "rotation"}),
    )
    if start is None:
        amplify_colour(model.encoder.conv_in, params.stage1.colour_gain)
        return model
    given = ExperimentStage1.from_pretrained(start)
    ours, theirs = _shape(model.config), _shape(given.config)
    if differing := [key for key in ours if ours[key] != theirs[key]]:
        raise UserError(
            f"{start}: its network differs from params.yaml in "
            + ", ".join(f"{key} ({theirs[key]}, params.yaml says {ours[key]})" for key in differing)
        )
    model.load_state_dict(given.state_dict())
    return model


def make_objective(model: ExperimentStage1, params: Params, domain: Stage1Domain) -> Stage1Objective:
    """The training objective of `domain` for a model."""
    stage1, training = params.stage1, params.stage1.training(domain)
    discriminator, quantizer = stage1.discriminator, stage1.quantizer
    adversarial = training.discriminator_start is not None
    loss = Stage1Loss(
        NLayerDiscriminator(3, discriminator.ndf, discriminator.n_layers) if adversarial else None,
        LPIPS(stage1.loss.perceptual_network) if stage1.loss.perceptual_weight or stage1.loss.texture_weight else None,
        **stage1.loss.model_dump(exclude={"perceptual_network"}),
        perceptual_from=training.perceptual_from,
        adversarial_weight=discriminator.weight,
        discriminator_start=training.discriminator_start or 0,
        kind=discriminator.loss,
    )
    codebook: KMeansCodebook | None = None
    if quantizer.update == "ema":
        codebook = EmaCodebook(model.quantize, quantizer.decay, quantizer.revive_below, params.seed)
    elif training.quantize_from:
        codebook = KMeansCodebook(model.quantize, params.seed)
    return Stage1Objective(
        model,
        loss,
        quantize_from=training.quantize_from,
        decoder_from=training.decoder_from,
        codebook=codebook,
        reference_order=discriminator.reference_order,
        learning_rate_factor=discriminator.learning_rate_factor,
    )


def _shape(config: dict[str, Any]) -> dict[str, Any]:
    """What two VQGANs of one shape have in common. The resolution matters only for where attention is placed."""
    reference = {"architecture": "reference", "patch": 1, "in_channels": 3, "out_ch": 3, "double_z": False}
    ddconfig = reference | {"attn_resolutions": []} | config["ddconfig"]
    sides = [ddconfig["resolution"] // 2**level for level in range(len(ddconfig["ch_mult"]))]
    levels = [level for level, side in enumerate(sides) if side in ddconfig["attn_resolutions"]]
    same = (*reference, "ch", "ch_mult", "num_res_blocks", "z_channels")
    shape = {key: ddconfig[key] for key in same} | {"levels with attention": levels}
    return shape | {key: config[key] for key in ("embed_dim", "n_embed", "cosine")}


def _continue_discriminator(discriminator: NLayerDiscriminator, weights: Path, accelerator: Accelerator) -> None:
    """Start from the discriminator of an imported VQGAN, if it has one of this shape."""
    if not weights.is_file():
        return
    state, expected = load_file(weights), discriminator.state_dict()
    same = {key: value.shape for key, value in state.items()} == {k: v.shape for k, v in expected.items()}
    if same:
        discriminator.load_state_dict(state)
    if accelerator.is_main_process:
        differs = "the imported discriminator has another shape than stage1.discriminator: a new one starts"
        log.info("the imported discriminator is trained further" if same else differs)
