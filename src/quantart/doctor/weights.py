"""The ImageNet weights behind the perceptual losses and the distances."""

from __future__ import annotations

from pathlib import Path

from quantart.doctor.row import Row, fails, ok, warning
from quantart.errors import UserError
from quantart.losses.weights import SHIPPED, is_torchvisions, shipped_file, torchvision_file
from quantart.params import Params
from quantart.params.file import load_params
from quantart.vocabulary.names import FeatureNetworkName


def check_weights(root: Path | None) -> Row:
    """Those that the project's parameters name; outside of a project, those that are shipped."""
    networks = _networks(load_params(root / "params.yaml")) if root else tuple(SHIPPED)
    faults, absent = [], []
    for network in networks:
        if network in SHIPPED:
            try:
                shipped_file(network)
            except UserError as error:
                faults.append(error.fault)
            continue
        file, url = torchvision_file(network)
        if not file.is_file():
            absent.append(f"put {url} to {file}, or let the first run download it")
        elif not is_torchvisions(network, file):
            return fails("perceptual weights", f"{file}: damaged or another file (sha256 differs)", f"`rm {file}`")
    if faults:
        return fails(
            "perceptual weights", "; ".join(faults), "install quantart again, or `git checkout` the files in a clone"
        )
    if absent:
        return warning("perceptual weights", f"{len(absent)} of {len(networks)} not downloaded", "; ".join(absent))
    return ok("perceptual weights", f"{', '.join(networks)}: sha256 as they should be")


def _networks(params: Params) -> tuple[FeatureNetworkName, ...]:
    named: list[FeatureNetworkName] = [
        params.stage1.loss.perceptual_network,
        params.evaluate.network,
        params.evaluate.features,
    ]
    if any(params.stage2.loss.decoded.values()):
        named.append(params.stage2.loss.perceptual_network)
    return tuple(dict.fromkeys(named))
