"""The ImageNet weights of the perceptual losses and distances."""

from __future__ import annotations

from pathlib import Path

from quantart.doctor import Finding, fails, ok, warning
from quantart.errors import UserError
from quantart.losses.weights import SHIPPED, is_torchvisions, shipped_file, torchvision_file
from quantart.params.file import load_params
from quantart.vocabulary.names import FeatureNetworkName


def check_weights(root: Path | None) -> Finding:
    """Those of the networks that the project's parameters name; outside of a project, the shipped ones."""
    networks: list[FeatureNetworkName] = list(SHIPPED)
    if root:
        params = load_params(root / "params.yaml")
        decoded = [params.stage2.loss.perceptual_network] if any(params.stage2.loss.decoded.values()) else []
        named = [params.stage1.loss.perceptual_network, params.evaluate.network, params.evaluate.features, *decoded]
        networks = list(dict.fromkeys(named))
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
            return fails(f"{file}: damaged, or another file (sha256 differs)", f"`rm {file}`")
    if faults:
        return fails("; ".join(faults), "install quantart again, or `git checkout` the files in a clone")
    if absent:
        return warning(f"{len(absent)} of {len(networks)} not downloaded", "; ".join(absent))
    return ok(f"{', '.join(networks)}: sha256 correct")
