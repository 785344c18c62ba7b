"""The pieces of work that are measured: each the reference's way and ours, of the 256-pixel presets' networks.

Weights are random, as speed does not depend on them, and pictures are those of data/sample. Ours is the product's own
code throughout: the update of the training loop, the stage `encode`, the `Stylizer`, the stage `prepare`.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import reference
import shipped
import torch
from case import Case
from PIL import Image
from timing import Call
from torch import Tensor, nn

from quantart.data.batches import CodeBatch
from quantart.data.encoding import encoded
from quantart.data.prepare import prepare_domain
from quantart.images.arrays import Picture, crop_to_aspect, resize_short_side, to_arrays, to_tensor
from quantart.images.decode import read_image
from quantart.machine.device import default_device
from quantart.models.stage_1 import ExperimentStage1
from quantart.models.stage_2 import ExperimentStage2
from quantart.params import Params
from quantart.pipeline import stage1_task, stage2_task
from quantart.presets import find_preset, params_with
from quantart.project import Project
from quantart.stylize.stylizer import Stylizer
from quantart.training.launch import make_accelerator
from quantart.training.loop import Update
from quantart.training.objective import Objective

ROOT = Path(__file__).parents[1]
SIDE = 256
CAMERA_SIDE = 1024  # short side of the JPEGs that `prepare` reads, in pixels
STORED_PICTURES = 64


def preset() -> Params:
    """The 256-pixel presets' parameters, with the perceptual network that needs no download and one forward pass."""
    project = Project(ROOT)
    values = params_with(find_preset(project, "landscape2art"), project.params()).model_dump()
    values["stage1"]["loss"]["perceptual_network"] = "squeezenet1_1"
    values["stage1"]["domain"]["discriminator_start"] = 0
    for stage in ("stage1", "stage2"):
        values[stage]["discriminator"]["reference_order"] = False
    return Params.model_validate(values)


def pictures(domain: str, number: int) -> list[Picture]:
    """Pictures of data/sample, `(256, 256, 3)`; from the first again where there are too few."""
    files = sorted((ROOT / "data" / "sample" / domain).glob("*.jpg"))
    return [
        resize_short_side(crop_to_aspect(read_image(files[place % len(files)], max_pixels=10**8), 1.0), SIDE)
        for place in range(number)
    ]


def batch_of(domain: str, number: int) -> Tensor:
    return to_tensor(pictures(domain, number)).to(default_device())


def vqgan(params: Params) -> ExperimentStage1:
    torch.manual_seed(0)
    shape = params.model
    return ExperimentStage1(shape.ddconfig(SIDE), shape.n_embed, shape.embed_dim).to(default_device())


def transferring(params: Params) -> ExperimentStage2:
    return ExperimentStage2.from_stage1(vqgan(params), vqgan(params), **params.stage2.network.model_dump())


# --- training ---------------------------------------------------------------------------------------------------------


def stage_1_reference(batch: int) -> Call:
    params, x = preset(), batch_of("paintings", batch)
    objective = stage1_task.make_objective(vqgan(params), params, "style")
    objective.reference_order = True
    update = reference.stage_1_step(reference.plain(objective.to(default_device())), params.stage1.domain.learning_rate)
    return lambda: update(x)


def stage_1_ours(batch: int) -> Call:
    params, x = preset(), batch_of("paintings", batch)
    return _updates(stage1_task.make_objective(vqgan(params), params, "style"), params.stage1.domain, lambda step: x)


def stage_2_reference(batch: int) -> Call:
    params, content, style = preset(), batch_of("photos", batch), batch_of("paintings", batch)
    objective = stage2_task.make_reference(transferring(params).to(default_device()), params)
    objective.reference_order = True
    update = reference.stage_2_step(reference.plain(objective.to(default_device())), params.stage2.train.learning_rate)
    return lambda: update(content, style)


def stage_2_ours(batch: int, params: Params | None = None, side: int = SIDE // 16) -> Call:
    """side: codes of a picture in each direction."""
    params = params or preset()
    codes = torch.randint(params.model.n_embed, (2, STORED_PICTURES, side, side)).to(default_device())

    def draw(step: int) -> CodeBatch:
        rows = (step * batch + torch.arange(batch, device=codes.device)) % STORED_PICTURES
        return CodeBatch(codes[0, rows], codes[1, rows])

    return _updates(stage2_task.make_reference(transferring(params), params), params.stage2.train, draw)


def _updates(objective: Objective, training: object, batch: Callable[[int], object]) -> Call:
    update = Update(objective, training, make_accelerator(seed=0))
    steps = count()

    def one() -> None:
        number = next(steps)
        update(batch(number), number)

    return one


def _trained_bytes(model: Callable[[Params], nn.Module], trained: str) -> Callable[[int], int]:
    def least(batch: int) -> int:
        parts = model(preset())
        weights = sum(p.nbytes for p in (parts.get_submodule(trained) if trained else parts).parameters())
        return 8 * weights  # read; its gradient written and read; both moments and itself read and written by Adam

    return least


# --- inference --------------------------------------------------------------------------------------------------------


def encode_reference(batch: int) -> Call:
    model, x = reference.plain(vqgan(preset()).eval()), batch_of("photos", batch)
    return lambda: reference.encode(model, x)


def encode_ours(batch: int) -> Call:
    model, device = vqgan(preset()).eval(), default_device()
    pixels = torch.from_numpy(np.stack(pictures("photos", batch))).permute(0, 3, 1, 2).contiguous()
    return lambda: list(encoded(model, iter([pixels]), device))


def stylize_reference(batch: int) -> Call:
    model = reference.plain(transferring(preset()).eval().to(default_device()))
    pairs = list(zip(pictures("photos", batch), pictures("paintings", batch), strict=True))

    def one() -> None:
        for content, style in pairs:
            x, y = (to_tensor(picture).to(default_device()) for picture in (content, style))
            to_arrays(reference.stylise(model, x, y))

    return one


def stylize_ours(batch: int, style_cache: int = 1) -> Call:
    stylizer = Stylizer(transferring(preset()).to(default_device()), style_cache=style_cache)
    pairs = list(zip(pictures("photos", batch), pictures("paintings", batch), strict=True))
    return lambda: [stylizer.stylize(content, style) for content, style in pairs]


def stylize_cached(batch: int) -> Call:
    return stylize_ours(batch, style_cache=2**26)


def _read_once(model: Callable[[Params], nn.Module], parts: tuple[str, ...]) -> Callable[[int], int]:
    def least(batch: int) -> int:
        whole = model(preset())
        weights = sum(p.nbytes for part in parts for p in whole.get_submodule(part).parameters())
        return weights + 2 * batch * SIDE * SIDE * 3

    return least


# --- prepare ----------------------------------------------------------------------------------------------------------


def camera_pictures(folder: Path, number: int) -> Path:
    """JPEGs as cameras write them, the short side 1024 pixels, all different."""
    sources = sorted((ROOT / "data" / "sample" / "photos").glob("*.jpg"))
    for place in range(number):
        with Image.open(sources[place % len(sources)]) as picture:
            scale = CAMERA_SIDE / min(picture.size)
            large = picture.convert("RGB").resize((round(picture.width * scale), round(picture.height * scale)))
        large.save(folder / f"{place:04d}.jpg", quality=90, comment=str(place))
    return folder


def prepare_reference(batch: int) -> Call:
    """Decode, resize, crop, one after another, each picture packed as it comes."""
    holder = TemporaryDirectory()
    files = sorted(camera_pictures(Path(holder.name), batch).glob("*.jpg"))

    def one() -> None:
        with (Path(holder.name) / "packed.bin").open("wb") as packed:
            for file in files:
                with Image.open(file) as picture:
                    rgb = picture.convert("RGB")
                scale = SIDE / min(rgb.size)
                width, height = round(rgb.width * scale), round(rgb.height * scale)
                small = rgb.resize((width, height), Image.Resampling.LANCZOS)
                left, top = (width - SIDE) // 2, (height - SIDE) // 2
                packed.write(np.asarray(small.crop((left, top, left + SIDE, top + SIDE))).tobytes())

    return one


def prepare_ours(batch: int) -> Call:
    holder = TemporaryDirectory()
    source, out = Path(holder.name) / "pictures", Path(holder.name) / "prepared"
    source.mkdir()
    camera_pictures(source, batch)
    params = preset().data
    return lambda: (holder, prepare_domain(source, out, params, domain="content"))


CASES = {
    "stage2_step": Case(
        "stage-2 training step on stored codes",
        "both frozen encoders in float32 in each of two passes, plain attention",
        8,
        3,
        stage_2_reference,
        stage_2_ours,
        _trained_bytes(transferring, "model_x2y"),
        in_half="bfloat16",
    ),
    "stage1_step": Case(
        "stage-1 training step, perceptual loss on",
        "two forward passes, float32, NCHW",
        4,
        3,
        stage_1_reference,
        stage_1_ours,
        _trained_bytes(vqgan, ""),
        in_half="bfloat16",
    ),
    "stylize": Case(
        "stylise one pair",
        "float32, NCHW",
        1,
        5,
        stylize_reference,
        stylize_ours,
        _read_once(transferring, ("encoder", "encoder_real", "model_x2y", "decoder")),
        in_half="decoder bfloat16",
    ),
    "stylize_cached_style": Case(
        "stylise with a style already seen",
        "float32, NCHW",
        1,
        5,
        stylize_reference,
        stylize_cached,
        _read_once(transferring, ("encoder", "model_x2y", "decoder")),
        in_half="decoder bfloat16",
    ),
    "encode": Case(
        "encode pictures",
        "float32, NCHW",
        8,
        5,
        encode_reference,
        encode_ours,
        _read_once(vqgan, ("encoder",)),
    ),
    "prepare": Case(
        "prepare JPEGs of 1024 pixels",
        "Pillow in a plain loop on one core",
        400,
        5,
        prepare_reference,
        prepare_ours,
        lambda batch: batch * 3 * (SIDE * SIDE + CAMERA_SIDE * CAMERA_SIDE * 4 // 3),
    ),
    **shipped.CASES,
}
