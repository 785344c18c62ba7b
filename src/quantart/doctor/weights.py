"""The ImageNet weights behind the perceptual losses and the distances."""

from __future__ import annotations

from pathlib import Path

from quantart.doctor.row import Row, fails, ok, warning
from quantart.errors import UserError
from quantart.losses.backbones import Network
from quantart.losses.weights import check_carried, is_carried, is_torchvisions, torchvision_file
from quantart.params import Params
from quantart.params.file import load_params

CARRIED: tuple[Network, ...] = ("squeezenet1_1", "efficientnet_lite0")


def check_weights(root: Path | None) -> Row:
    """Those that the project's parameters name; outside of a project, those that come with packages."""
    networks = _networks(load_params(root / "params.yaml")) if root else CARRIED
    faults, absent = [], []
    for network in networks:
        if is_carried(network):
            try:
                check_carried(network)
            except UserError as error:
                faults.append(str(error))
            continue
        file, url = torchvision_file(network)
        if not file.is_file():
            absent.append(f"put {url} to {file}, or let the first run download it")
        elif not is_torchvisions(network, file):
            return fails("perceptual weights", f"{file}: damaged or another file (sha256 differs)", f"`rm {file}`")
    if faults:
        return fails("perceptual weights", "; ".join(faults), "`make setup`, or the `pip install` that is named")
    if absent:
        return warning("perceptual weights", f"{len(absent)} of {len(networks)} not downloaded", "; ".join(absent))
    return ok("perceptual weights", f"{', '.join(networks)}: sha256 as they should be")


def _networks(params: Params) -> tuple[Network, ...]:
    named: list[Network] = [params.stage1.loss.perceptual_network, params.evaluate.network, params.evaluate.features]
    if any(params.stage2.loss.decoded.values()):
        named.append(params.stage2.loss.perceptual_network)
    return tuple(dict.fromkeys(named))
