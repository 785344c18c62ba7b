"""Stage 1: train a VQGAN on both domains (base), or go on from it on one domain."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, get_args

import torch
from accelerate import Accelerator
from safetensors.torch import load_file

from quantart.components.codebook import EmaCodebook, KMeansCodebook
from quantart.components.discriminator import NLayerDiscriminator
from quantart.components.quantizer import code_counts, codebook_statistics
from quantart.data.batches import PictureBatches
from quantart.data.pictures import PackedPictures
from quantart.errors import UserError
from quantart.evaluation.metrics import delta_e, psnr
from quantart.images import picture_grid, pixels_to_float, to_arrays
from quantart.losses.lpips import LPIPS
from quantart.losses.stage_1 import Stage1Loss
from quantart.models.pretrained import DISCRIMINATOR
from quantart.models.stage_1 import ExperimentStage1
from quantart.params import Params
from quantart.params.stage1 import VQGAN_KEYS
from quantart.pipeline.training import GRID_ROWS, VALIDATION_PICTURES, run_training, take_over
from quantart.project import Project
from quantart.tracking.links import read_link
from quantart.tracking.runs import DataUsed
from quantart.training.loop import Pictures, Task
from quantart.training.vqgan_step import Stage1Step
from quantart.vocabulary.names import DOMAINS, Domain, Stage1Domain


def run(project: Project, domain: Stage1Domain) -> None:
    """Train the VQGAN of `domain` into `models/stage1_<domain>`, or take it over where params.yaml names one.

    Raises:
        UserError: the parameters, the prepared pictures or the VQGAN to start from are not there or don't fit.
    """
    params = project.params()
    project.check_writable()
    taken = _taken(project, params, domain)
    if taken is None:
        _train(project, params, domain)
    else:
        take_over(
            project,
            stage=f"stage1_{domain}",
            parameters=_parameters(params, domain) | {"taken_from": taken},
            model=_model(params, project.root / taken),
            source=project.root / taken,
            seed=params.seed,
            out=project.stage1_model(domain),
        )


def _train(project: Project, params: Params, domain: Stage1Domain) -> None:
    domains: tuple[Domain, ...] = DOMAINS if domain == "base" else (domain,)
    train = {d: _pictures(project, d, "train") for d in domains}
    val = [_pictures(project, d, "val") for d in domains]
    start = None if domain == "base" else project.stage1_model("base")
    upstream = {} if domain == "base" else {"stage1_base": read_link(project.link("stage1_base")).run_id}

    def make_task(accelerator: Accelerator) -> Task:
        model = _model(params, start)
        step = make_step(model, params, domain)
        if start is not None and step.loss.discriminator is not None:
            _start_discriminator(step.loss.discriminator, start / DISCRIMINATOR, accelerator.print)
        perceptual = step.loss.perceptual or LPIPS(params.stage1.loss.perceptual_network).to(accelerator.device)
        batch = make_batches(train, params, domain, accelerator)
        return Task(
            name=f"stage 1, {domain}",
            section="stage1.base" if domain == "base" else "stage1.domain",
            resolution=params.data.resolution,
            step=step,
            batch=batch,
            files=batch.files,
            validate=lambda m, done: validate(
                m,
                val,
                perceptual,
                params.data.resolution,
                accelerator.device,
                quantize=done > params.stage1.training(domain).quantize_from,
            ),
            discriminator_learning_rate_factor=params.stage1.discriminator.learning_rate_factor,
        )

    run_training(
        project,
        stage=f"stage1_{domain}",
        parameters=_parameters(params, domain)
        | {
            "train": params.stage1.training(domain).model_dump(),
            "quantizer": params.stage1.quantizer.model_dump(),
            "loss": params.stage1.loss.model_dump(),
            "discriminator": params.stage1.discriminator.model_dump(),
            **({"colour_gain": params.stage1.colour_gain} if start is None else {}),
        },
        training=params.stage1.training(domain),
        datasets=[DataUsed(d, p.digest, params.data.folder(d), "training", len(p)) for d, p in train.items()],
        upstream=upstream,
        validated_on=[p.digest for p in val],
        seed=params.seed,
        make_task=make_task,
        out=project.stage1_model(domain),
    )


def _parameters(params: Params, domain: Stage1Domain) -> dict[str, Any]:
    return {"domain": domain, "resolution": params.data.resolution, "model": params.model.model_dump()}


def make_step(model: ExperimentStage1, params: Params, domain: Stage1Domain) -> Stage1Step:
    """The training step of `params` for a model."""
    stage1, training = params.stage1, params.stage1.training(domain)
    disc, quantizer = stage1.discriminator, stage1.quantizer
    adversarial = training.discriminator_start is not None
    loss = Stage1Loss(
        NLayerDiscriminator(3, disc.ndf, disc.n_layers) if adversarial else None,
        LPIPS(stage1.loss.perceptual_network) if stage1.loss.perceptual_weight else None,
        perceptual_weight=stage1.loss.perceptual_weight,
        colour_weight=stage1.loss.colour_weight,
        codebook_weight=stage1.loss.codebook_weight,
        disc_start=training.discriminator_start or 0,
        disc_weight=disc.weight,
        disc_loss=disc.loss,
    )
    codebook: KMeansCodebook | None = None
    if quantizer.update == "ema":
        codebook = EmaCodebook(model.quantize, quantizer.decay, quantizer.revive_below, params.seed)
    elif training.quantize_from:
        codebook = KMeansCodebook(model.quantize, params.seed)
    return Stage1Step(
        model, loss, quantize_from=training.quantize_from, codebook=codebook, reference_order=disc.reference_order
    )


def make_batches(
    pictures: Mapping[Domain, PackedPictures], params: Params, domain: Stage1Domain, accelerator: Accelerator
) -> PictureBatches:
    """Batches of `pictures` as `params` ask for the training of `domain`."""
    training = params.stage1.training(domain)
    return PictureBatches(
        pictures, batch_size=training.batch_size, crop=training.crop, seed=params.seed, accelerator=accelerator
    )


def validate(
    model: ExperimentStage1,
    pictures: list[PackedPictures],
    perceptual: LPIPS,
    resolution: int,
    device: torch.device,
    quantize: bool,
) -> tuple[dict[str, float], Pictures]:
    """PSNR, ΔE, perceptual distance and codebook use on validation pictures; a grid of inputs and reconstructions.

    Args:
        quantize: whether the codebook is in use already; before, latents are decoded as they are.
    """
    each = VALIDATION_PICTURES // len(pictures)
    inputs = torch.cat([p.centre(range(min(each, len(p))), resolution) for p in pictures])
    psnrs, colours, distances, codes, outputs = [], [], [], [], []
    for part in pixels_to_float(inputs).to(device).split(8):
        z = model.latents(part)
        quantized = model.quantize(z)
        output = model.decode(quantized.z_q if quantize else z).float().clamp(-1, 1)
        psnrs.append(psnr(output, part))
        colours.append(delta_e(output, part))
        distances.append(perceptual(output, part))
        codes.append(quantized.indices.flatten())
        outputs.append(output)
    used = code_counts(torch.cat(codes), model.quantize.n_e)
    metrics: dict[str, Any] = {
        "psnr": torch.cat(psnrs).mean(),
        "delta_e": torch.cat(colours).mean(),
        perceptual.metric: torch.cat(distances).mean(),
    }
    if quantize:
        metrics |= {f"codebook_{name}": value for name, value in codebook_statistics(used).items()}
    shown = torch.linspace(0, len(inputs) - 1, min(GRID_ROWS, len(inputs))).long()
    result = torch.cat(outputs)[shown]
    rows = zip(to_arrays(pixels_to_float(inputs[shown])), to_arrays(result.cpu()), strict=True)
    grid = picture_grid([list(row) for row in rows], ["input", "reconstruction"])
    return {f"val/{name}": float(value) for name, value in metrics.items()}, {"val/reconstructions": grid}


def _pictures(project: Project, domain: Domain, split: Any) -> PackedPictures:
    pictures = PackedPictures(project.prepared(domain), split)
    if not len(pictures):
        raise UserError(f"{project.prepared(domain)}: no picture in split {split!r}; add pictures to data.{domain}")
    return pictures


def _taken(project: Project, params: Params, domain: Stage1Domain) -> str | None:
    """Folder of the VQGAN that takes the place of training; None: train.

    Every folder that params.yaml names is opened first, so that a mistake in one stops the first stage already.
    """
    given = params.stage1.given_vqgans
    for each, folder in given.items():
        key = f"stage1.{VQGAN_KEYS[each]}"
        _refuse_own_output(project, key, folder)
        try:
            _model(params, project.root / folder)
        except UserError as error:
            raise UserError(f"{key}: {error.fault}", error.remedy) from None
    return given.get(domain)


def _refuse_own_output(project: Project, key: str, folder: str) -> None:
    """The pipeline empties the folders it writes before it runs the stage that would read them."""
    written = {project.stage1_model(domain).resolve() for domain in get_args(Stage1Domain)}
    if (project.root / folder).resolve() in written:
        raise UserError(f"{key} {folder}: the pipeline itself writes this folder; copy it elsewhere and name the copy")


def _model(params: Params, start: Path | None) -> ExperimentStage1:
    """A VQGAN of the shape and with the codebook loss of params.yaml, with the weights in `start` if there are any."""
    shape, quantizer = params.model, params.stage1.quantizer
    ddconfig = shape.ddconfig(params.data.resolution)
    model = ExperimentStage1(
        ddconfig,
        shape.n_embed,
        shape.embed_dim,
        quantizer.beta,
        quantizer.legacy,
        quantizer.cosine,
        quantizer.rotation,
    )
    if start is None:
        model.encoder.conv_in.amplify_colour(params.stage1.colour_gain)
    else:
        given = ExperimentStage1.from_pretrained(start)
        ours, theirs = _shape(model.config), _shape(given.config)
        if differing := [key for key in ours if ours[key] != theirs[key]]:
            raise UserError(
                f"{start}: its network differs from params.yaml in "
                + ", ".join(f"{key} ({theirs[key]}, params.yaml says {ours[key]})" for key in differing)
            )
        model.load_state_dict(given.state_dict())
    return model


def _shape(config: dict[str, Any]) -> dict[str, Any]:
    """What two VQGANs must have in common to be of one shape; the resolution only says where attention is."""
    ddconfig = config["ddconfig"]
    sides = [ddconfig["resolution"] // 2**level for level in range(len(ddconfig["ch_mult"]))]
    levels = [level for level, side in enumerate(sides) if side in ddconfig["attn_resolutions"]]
    same = ("in_channels", "out_ch", "ch", "ch_mult", "num_res_blocks", "z_channels", "double_z")
    shape = {key: ddconfig[key] for key in same} | {"levels with attention": levels}
    return shape | {key: config[key] for key in ("embed_dim", "n_embed", "cosine")}


def _start_discriminator(discriminator: NLayerDiscriminator, weights: Path, say: Callable[[str], None]) -> None:
    """Go on with the discriminator of an imported VQGAN, where there is one of this shape."""
    if not weights.is_file():
        return
    state, expected = load_file(weights), discriminator.state_dict()
    if {k: v.shape for k, v in state.items()} == {k: v.shape for k, v in expected.items()}:
        discriminator.load_state_dict(state)
        say("the discriminator goes on from the imported one")
    else:
        say("the imported discriminator differs from stage1.discriminator in shape; a new one starts")
