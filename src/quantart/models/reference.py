"""Checkpoints of the reference implementation and of Taming Transformers (Esser et al., CVPR 2021) as our networks.

The shape of the network is read off its tensors. What they don't show is asked for by name or taken from the
reference's own YAML file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor, nn

from quantart.components.discriminator import NLayerDiscriminator
from quantart.errors import UserError
from quantart.models.pretrained import load_strictly
from quantart.models.reference_file import read_state_dict
from quantart.models.stage_1 import ExperimentStage1
from quantart.models.stage_2 import ExperimentStage2

DEFAULT_RESOLUTION = 256  # pixels, of every configuration of the reference
DEFAULT_CODES = 1024  # likewise; a continuous model keeps the number without having the codes
DISCRIMINATOR = "loss.discriminator."
PERCEPTUAL = "loss.perceptual_loss."
ANCHORS = (
    "encoder.conv_in.weight",
    "encoder.down.0.block.0.conv1.weight",
    "encoder.conv_out.weight",
    "decoder.conv_in.weight",
    "decoder.conv_out.weight",
    "quant_conv.weight",
)

Network = ExperimentStage1 | ExperimentStage2


@dataclass(frozen=True)
class Settings:
    """What a user says about a checkpoint beside its tensors; None: not said.

    Attributes:
        resolution: side in pixels it was trained at.
        residual: whether the attention blocks of the style transfer network add to their input.
        legacy: form of the codebook loss, see `VectorQuantizer`.
        config: `model` of the reference's YAML file.
    """

    resolution: int | None = None
    residual: bool | None = None
    legacy: bool = True
    config: Mapping[str, Any] = field(default_factory=dict)

    @property
    def params(self) -> Mapping[str, Any]:
        return self.config.get("params", {})

    @property
    def ddconfig(self) -> Mapping[str, Any]:
        return self.params.get("ddconfig", {})


@dataclass(frozen=True)
class Imported:
    """An opened checkpoint.

    Attributes:
        network: in eval mode on the CPU.
        discriminator: of stage 1, which fine-tuning goes on with; None where there is none, and for stage 2.
        dropped: what was left out, with the number of its tensors.
        assumed: what was neither visible nor said, with the value taken.
    """

    network: Network
    discriminator: NLayerDiscriminator | None
    dropped: Mapping[str, int]
    assumed: Mapping[str, Any]


def open_reference(path: Path, settings: Settings) -> Imported:
    """Open a checkpoint file: stage 1 or stage 2 of the reference, or a VQGAN of Taming Transformers.

    Raises:
        UserError: the file is no such checkpoint, keys are missing or unexpected, shapes disagree with each other or
            with `settings`, or something has to be said. Nothing is loaded partially.
    """
    return from_state_dict(read_state_dict(path), settings, str(path))


def from_state_dict(state: Mapping[str, Tensor], settings: Settings, source: str) -> Imported:
    """What `open_reference` makes of the file's tensors; `source` names the file in faults."""
    # the network is made without memory and takes the file's tensors as they are
    kept = {key: value for key, value in state.items() if not key.startswith((DISCRIMINATOR, PERCEPTUAL))}
    judge = {k.removeprefix(DISCRIMINATOR): v for k, v in state.items() if k.startswith(DISCRIMINATOR)}
    cls = ExperimentStage2 if any(k.startswith(("model_x2y.", "encoder_real.")) for k in kept) else ExperimentStage1
    arguments, assumed = _arguments(kept, settings, source, cls)
    _agree(arguments, settings, source)
    network = _build(cls, arguments, kept, source)
    discriminator = None
    dropped = {"perceptual network": sum(k.startswith(PERCEPTUAL) for k in state)}
    if judge and cls is ExperimentStage1:
        discriminator = _build(NLayerDiscriminator, _discriminator(judge, source), judge, f"{source}, {DISCRIMINATOR}*")
    else:
        dropped["discriminator"] = len(judge)
    return Imported(network, discriminator, {k: n for k, n in dropped.items() if n}, assumed)


def read_config(path: Path) -> dict[str, Any]:
    """The `model` section of a configuration in the reference's YAML layout (`model.params.ddconfig.…`).

    Raises:
        UserError: it is not there, not YAML or of another layout.
    """
    try:
        config = yaml.safe_load(path.read_text(encoding="utf8"))
        model = dict(config["model"])
        dict(model["params"]["ddconfig"])
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}; give the reference's YAML file") from None
    except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path}: not a configuration with model.params.ddconfig ({reason})") from None
    return model


def _build(cls: type[Any], arguments: dict[str, Any], state: Mapping[str, Tensor], source: str) -> Any:
    try:
        with torch.device("meta"):
            network: nn.Module = cls(**arguments)
    except (ValueError, TypeError) as error:
        raise UserError(f"{source}: its shapes describe no {cls.__name__}: {error}") from None
    full = {key: value.float() if value.is_floating_point() else value for key, value in state.items()}
    load_strictly(network, full, source, assign=True)
    return network.eval()


def _arguments(
    state: Mapping[str, Tensor], settings: Settings, source: str, cls: type[Network]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Constructor's arguments of the network, and those among them that were assumed."""
    shape, levels = _shape(state, source)
    resolution = _said("resolution", settings.resolution, settings.ddconfig.get("resolution"))
    assumed: dict[str, Any] = {}
    if resolution is None:
        if levels:
            raise UserError(
                f"{source}: has attention at level {', '.join(map(str, levels))}, but not the resolution it was "
                f"trained at; give --resolution ({DEFAULT_RESOLUTION} for the published models) or --config"
            )
        resolution = assumed["resolution"] = DEFAULT_RESOLUTION
    down = 2 ** (len(shape["ch_mult"]) - 1)
    if not isinstance(resolution, int) or resolution < down or resolution % down:
        raise UserError(f"resolution {resolution!r} is not a multiple of the {down} pixels that a code stands for")
    ddconfig = shape | {
        "resolution": resolution,
        "attn_resolutions": [resolution // 2**level for level in levels],
        "dropout": settings.ddconfig.get("dropout", 0.0),
    }
    arguments = {"ddconfig": ddconfig, "embed_dim": len(state["quant_conv.weight"]), "legacy": settings.legacy}
    if cls is ExperimentStage1:
        return arguments | {"n_embed": _codes(state, "quantize")}, assumed
    arguments |= _transfer(state) | {"variant": _variant(state, settings, source)}
    arguments["n_embed"] = _codes(state, "quantize_dec")
    if arguments["variant"] == "continuous":
        arguments["n_embed"] = settings.params.get("n_embed", DEFAULT_CODES)
    residual = _said("residual", settings.residual, settings.params.get("use_residual"))
    arguments["residual"] = True if residual is None else residual
    return arguments, assumed | ({"residual": True} if residual is None else {})


def _shape(state: Mapping[str, Tensor], source: str) -> tuple[dict[str, Any], list[int]]:
    """`ddconfig` as far as the tensors show it, and the levels with attention."""
    if missing := [key for key in ANCHORS if key not in state]:
        raise UserError(f"{source}: is no VQGAN checkpoint of the reference; missing: {', '.join(missing)}")
    if flat := [key for key in ANCHORS if state[key].ndim != 4 or not state[key].numel()]:
        raise UserError(f"{source}: is no VQGAN checkpoint of the reference; not a convolution: {', '.join(flat)}")
    ch, in_channels = state["encoder.conv_in.weight"].shape[:2]
    z_channels = state["decoder.conv_in.weight"].shape[1]
    if len(state["encoder.conv_out.weight"]) == 2 * z_channels:
        raise UserError(f"{source}: its encoder answers mean and variance (double_z), hence it is no VQGAN")
    depth = _count(state, "encoder.down.{}.block.0.conv1.weight")
    widths = [len(state[f"encoder.down.{level}.block.0.conv1.weight"]) for level in range(depth)]
    shape = {
        "double_z": False,
        "z_channels": z_channels,
        "in_channels": in_channels,
        "out_ch": len(state["decoder.conv_out.weight"]),
        "ch": ch,
        "ch_mult": [width // ch for width in widths],
        "num_res_blocks": _count(state, "encoder.down.0.block.{}.conv1.weight"),
    }
    return shape, [level for level in range(depth) if f"encoder.down.{level}.attn.0.q.weight" in state]


def _count(state: Mapping[str, Tensor], pattern: str) -> int:
    count = 0
    while pattern.format(count) in state:
        count += 1
    return count


def _codes(state: Mapping[str, Tensor], quantizer: str) -> int:
    # 1 where the codebook is missing: loading then names its key
    codebook = state.get(f"{quantizer}.embedding.weight")
    return 1 if codebook is None or codebook.ndim != 2 else len(codebook)


def _transfer(state: Mapping[str, Tensor]) -> dict[str, Any]:
    blocks = {key.split(".")[2] for key in state if key.startswith("model_x2y.blocks.")}
    return {
        "block_num": len(blocks),
        "use_conv": any(".res_block." in key for key in state),
        "use_selfatt": any(".self_attn_block." in key for key in state),
    }


def _variant(state: Mapping[str, Tensor], settings: Settings, source: str) -> str:
    variant = "discrete" if any(key.startswith(("quantize_enc.", "quantize_dec.")) for key in state) else "continuous"
    target = str(settings.config.get("target", ""))
    if "vqgan_ref" in target and ("continuous" if "continuous" in target else "discrete") != variant:
        codebooks = "quantize_enc.embedding.weight, quantize_dec.embedding.weight"
        fault = f"missing: {codebooks}" if variant == "continuous" else f"unexpected: {codebooks}"
        raise UserError(f"{source}: the configuration describes a {target}; {fault}")
    return variant


def _said(name: str, option: Any, configured: Any) -> Any:
    if option is not None and configured is not None and option != configured:
        raise UserError(f"--{name} is {option!r}, but the configuration says {configured!r}; give one of them")
    return configured if option is None else option


def _agree(arguments: Mapping[str, Any], settings: Settings, source: str) -> None:
    """The configuration contradicts none of what the tensors show."""
    found = {key: value for key, value in {**arguments, **arguments["ddconfig"]}.items() if key != "ddconfig"}
    said = {**settings.params, **settings.ddconfig}
    if isinstance(said.get("attn_resolutions"), list):
        sides = {found["resolution"] // 2**level for level in range(len(found["ch_mult"]))}
        # sides that no level has place no attention
        said["attn_resolutions"] = sorted(sides & set(said["attn_resolutions"]), reverse=True)
    wrong = [f"{key} {said[key]!r} for {found[key]!r}" for key in said if key in found and said[key] != found[key]]
    if wrong:
        raise UserError(f"{source}: the configuration contradicts the tensors: {', '.join(wrong)}")


def _discriminator(state: Mapping[str, Tensor], source: str) -> dict[str, Any]:
    """Arguments of `NLayerDiscriminator`."""
    convolutions = [value.shape for key, value in state.items() if value.ndim == 4 and key.endswith(".weight")]
    if len(convolutions) < 3 or "main.0.weight" not in state:
        raise UserError(f"{source}: {DISCRIMINATOR}* is no discriminator of the reference; it needs main.0, main.2, …")
    ndf, input_nc = state["main.0.weight"].shape[:2]
    n_layers = len(convolutions) - 2
    if n_layers == 1 and convolutions[1][0] == ndf:
        n_layers = 0  # as many layers as with one, but the second is no wider
    return {"input_nc": input_nc, "ndf": ndf, "n_layers": n_layers, "use_actnorm": "main.3.loc" in state}
