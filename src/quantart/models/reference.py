"""Checkpoints of the reference implementation and of Taming Transformers (Esser et al., CVPR 2021) as our networks.

The shape of the network is inferred from its tensors. What they don't show comes from options or from the reference's
YAML file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from quantart.components.discriminator import NLayerDiscriminator
from quantart.errors import UserError
from quantart.models.pretrained import load_strictly, some
from quantart.models.reference_codebook import own_codebook, stored_shape
from quantart.models.reference_config import Settings
from quantart.models.reference_file import read_state_dict
from quantart.models.reference_keys import find_network
from quantart.models.stage_1 import ExperimentStage1
from quantart.models.stage_2 import ExperimentStage2

DEFAULT_RESOLUTION = 256  # pixels, in every configuration of the reference
DEFAULT_CODES = 1024  # likewise; a continuous model has the number without the codes
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
class Imported:
    """An opened checkpoint.

    Attributes:
        network: in eval mode on the CPU.
        discriminator: of stage 1, for fine-tuning; None if there is none, and for stage 2.
        prefix: that the network's keys had in the file; empty if none.
        gumbel: its codebook was converted by `from_gumbel`.
        dropped: what was left out, with the number of its tensors.
        assumed: the arguments that were neither visible nor given, with the values assumed.
    """

    network: Network
    discriminator: NLayerDiscriminator | None
    prefix: str
    gumbel: bool
    dropped: Mapping[str, int]
    assumed: Mapping[str, Any]


def open_reference(path: Path, settings: Settings) -> Imported:
    """Open a checkpoint file: stage 1 or stage 2 of the reference, or a VQGAN of Taming Transformers.

    Raises:
        UserError: the file is no such checkpoint, keys are missing or unexpected, shapes disagree with each other or
            with `settings`, weights are not finite, or an option is needed. Nothing is loaded partially.
    """
    imported = from_state_dict(read_state_dict(path), settings, str(path))
    _check_finite(imported, str(path))
    return imported


def from_state_dict(tensors: Mapping[str, Tensor], settings: Settings, source: str) -> Imported:
    """`open_reference` for tensors that were read already; `source` names the file in errors."""
    state, prefix, dropped = find_network(tensors, settings, source)
    kept = {key: value for key, value in state.items() if not key.startswith((DISCRIMINATOR, PERCEPTUAL))}
    judge = {k.removeprefix(DISCRIMINATOR): v for k, v in state.items() if k.startswith(DISCRIMINATOR)}
    cls = ExperimentStage2 if any(k.startswith(("model_x2y.", "encoder_real.")) for k in kept) else ExperimentStage1
    if settings.continuous and cls is ExperimentStage1:
        raise UserError(
            f"{source}: is a VQGAN of stage 1",
            "--continuous is for stage 2 (model_x2y.*, encoder_real.*): leave it out",
        )
    stored, gumbel = kept, False
    if cls is ExperimentStage1 and kept.keys() >= set(ANCHORS):
        kept, others, gumbel = own_codebook(stored, source)
        dropped |= others
    arguments, assumed = _arguments(kept, settings, source, cls)
    _agree(arguments | (stored_shape(stored) if gumbel else {}), settings, source)
    network = _build(cls, arguments, kept, source)
    discriminator = None
    dropped["perceptual network"] = sum(k.startswith(PERCEPTUAL) for k in state)
    if judge and cls is ExperimentStage1:
        discriminator = _build(NLayerDiscriminator, _discriminator(judge, source), judge, f"{source}, {DISCRIMINATOR}*")
    else:
        dropped["discriminator"] = len(judge)
    return Imported(network, discriminator, prefix, gumbel, {k: n for k, n in dropped.items() if n}, assumed)


def _build(cls: type[Any], arguments: dict[str, Any], state: Mapping[str, Tensor], source: str) -> Any:
    """A network without memory of its own, which takes the file's tensors as they are."""
    try:
        with torch.device("meta"):
            network: nn.Module = cls(**arguments)
    except (ValueError, TypeError, ZeroDivisionError) as error:
        raise UserError(f"{source}: its shapes describe no {cls.__name__}: {error}") from None
    kinds = {key: value.dtype for key, value in network.state_dict().items() if key in state}
    if wrong := [f"{key} ({state[key].dtype})" for key, kind in kinds.items() if not _fits(state[key], kind)]:
        raise UserError(f"{source}: weights must be floating-point numbers; these are not: {some(wrong)}")
    full = {key: value.to(kinds.get(key, value.dtype)) for key, value in state.items()}
    load_strictly(network, full, source, assign=True)
    return network.eval()


def _fits(value: Tensor, kind: torch.dtype) -> bool:
    # counters and flags, which are integers, may be floats if the whole checkpoint was cast
    return value.is_floating_point() or not (value.is_complex() or kind.is_floating_point)


def _check_finite(imported: Imported, source: str) -> None:
    wrong = [key for key, value in imported.network.state_dict().items() if not value.isfinite().all()]
    if imported.discriminator is not None:
        judge = imported.discriminator.state_dict().items()
        wrong += [DISCRIMINATOR + key for key, value in judge if not value.isfinite().all()]
    if wrong:
        raise UserError(f"{source}: its training diverged, NaN or infinite values are in: {some(wrong)}")


def _arguments(
    state: Mapping[str, Tensor], settings: Settings, source: str, cls: type[Network]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The network's constructor arguments, and those among them that were assumed."""
    shape, levels = _shape(state, source)
    resolution = _said("resolution", settings.resolution, settings.ddconfig.get("resolution"))
    assumed: dict[str, Any] = {}
    if resolution is None:
        if levels:
            raise UserError(
                f"{source}: has attention at level {', '.join(map(str, levels))}, but not the resolution it was "
                "trained at",
                f"give --resolution ({DEFAULT_RESOLUTION} for the published models) or --config",
            )
        resolution = assumed["resolution"] = DEFAULT_RESOLUTION
    down = 2 ** (len(shape["ch_mult"]) - 1)
    if not isinstance(resolution, int) or resolution < down or resolution % down:
        raise UserError(f"resolution {resolution!r} is not a multiple of {down}, the pixels per code")
    ddconfig = shape | {
        "resolution": resolution,
        "attn_resolutions": [resolution // 2**level for level in levels],
        "dropout": settings.ddconfig.get("dropout", 0.0),
    }
    arguments = {"ddconfig": ddconfig, "embed_dim": len(state["quant_conv.weight"]), "legacy": settings.legacy}
    if cls is ExperimentStage1:
        return arguments | {"n_embed": _codes(state, "quantize")}, assumed
    arguments |= _transfer(state, source) | {"variant": _variant(state, settings, source)}
    arguments["n_embed"] = _codes(state, "quantize_dec")
    if arguments["variant"] == "continuous":
        arguments["n_embed"] = settings.params.get("n_embed", DEFAULT_CODES)
    residual = _said("residual", settings.residual, settings.params.get("use_residual"))
    arguments["residual"] = True if residual is None else residual
    return arguments, assumed | ({"residual": True} if residual is None else {})


def _shape(state: Mapping[str, Tensor], source: str) -> tuple[dict[str, Any], list[int]]:
    """As much of `ddconfig` as the tensors show, and the levels with attention."""
    if missing := [key for key in ANCHORS if key not in state]:
        raise UserError(f"{source}: is no VQGAN checkpoint of the reference; missing: {', '.join(missing)}")
    depth = _count(state, "encoder.down.{}.block.0.conv1.weight")
    levels = [f"encoder.down.{level}.block.0.conv1.weight" for level in range(depth)]
    if flat := [key for key in dict.fromkeys([*ANCHORS, *levels]) if state[key].ndim != 4 or not state[key].numel()]:
        raise UserError(f"{source}: is no VQGAN checkpoint of the reference; not a convolution: {some(flat)}")
    ch, in_channels = state["encoder.conv_in.weight"].shape[:2]
    z_channels = state["decoder.conv_in.weight"].shape[1]
    if len(state["encoder.conv_out.weight"]) == 2 * z_channels:
        raise UserError(f"{source}: its encoder outputs mean and variance (double_z), so it is no VQGAN")
    shape = {
        "double_z": False,
        "z_channels": z_channels,
        "in_channels": in_channels,
        "out_ch": len(state["decoder.conv_out.weight"]),
        "ch": ch,
        "ch_mult": [len(state[key]) // ch for key in levels],
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


def _transfer(state: Mapping[str, Tensor], source: str) -> dict[str, Any]:
    blocks = {key.split(".")[2] for key in state if key.startswith("model_x2y.blocks.")}
    if not blocks:
        raise UserError(f"{source}: its style transfer network is missing: model_x2y.blocks.*")
    return {
        "block_num": len(blocks),
        "use_conv": any(".res_block." in key for key in state),
        "use_selfatt": any(".self_attn_block." in key for key in state),
    }


def _variant(state: Mapping[str, Tensor], settings: Settings, source: str) -> str:
    has_codes = any(key.startswith(("quantize_enc.", "quantize_dec.")) for key in state)
    variant = "discrete" if has_codes else "continuous"
    fault = f"{'unexpected' if has_codes else 'missing'}: quantize_enc.embedding.weight, quantize_dec.embedding.weight"
    claims = {"--continuous was given": "continuous"} if settings.continuous else {}
    if "vqgan_ref" in (target := str(settings.config.get("target", ""))):
        claims[f"the configuration describes a {target}"] = "continuous" if "continuous" in target else "discrete"
    if wrong := [claim for claim, claimed in claims.items() if claimed != variant]:
        raise UserError(f"{source}: {wrong[0]}; {fault}")
    if not has_codes and not claims:
        raise UserError(f"{source}: {fault}", "if it was trained without codebooks, give --continuous")
    return variant


def _said(name: str, option: Any, configured: Any) -> Any:
    if option is not None and configured is not None and option != configured:
        raise UserError(f"--{name} is {option!r}, but the configuration says {configured!r}", "give one of them")
    return configured if option is None else option


def _agree(arguments: Mapping[str, Any], settings: Settings, source: str) -> None:
    """Raises `UserError` if the configuration contradicts the tensors."""
    found = {key: value for key, value in {**arguments, **arguments["ddconfig"]}.items() if key != "ddconfig"}
    said = {**settings.params, **settings.ddconfig}
    if isinstance(said.get("attn_resolutions"), list):
        sides = {found["resolution"] // 2**level for level in range(len(found["ch_mult"]))}
        # the others place no attention
        said["attn_resolutions"] = sorted(sides & set(said["attn_resolutions"]), reverse=True)
    wrong = [f"{key} {said[key]!r} for {found[key]!r}" for key in said if key in found and said[key] != found[key]]
    if wrong:
        raise UserError(f"{source}: the configuration contradicts the tensors: {', '.join(wrong)}")


def _discriminator(state: Mapping[str, Tensor], source: str) -> dict[str, Any]:
    """Arguments of `NLayerDiscriminator`."""
    convolutions = [value.shape for key, value in state.items() if value.ndim == 4 and key.endswith(".weight")]
    if len(convolutions) < 3 or "main.0.weight" not in state or state["main.0.weight"].ndim != 4:
        raise UserError(f"{source}: {DISCRIMINATOR}* is no discriminator of the reference (main.0, main.2, …)")
    ndf, input_nc = state["main.0.weight"].shape[:2]
    n_layers = len(convolutions) - 2
    if n_layers == 1 and convolutions[1][0] == ndf:
        n_layers = 0  # has as many convolutions as 1, but the second is no wider
    return {"input_nc": input_nc, "ndf": ndf, "n_layers": n_layers, "use_actnorm": "main.3.loc" in state}
