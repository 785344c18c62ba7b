"""What the evaluation computes: a network measured on held-out pictures, and the reports of it."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

import torch

from quantart.evaluation import methods
from quantart.evaluation.evaluate import EvaluationResult, evaluate_reconstruction, evaluate_transfer
from quantart.evaluation.magenta import MagentaStylizer
from quantart.evaluation.methods import Painter
from quantart.evaluation.networks import FeatureNetwork
from quantart.evaluation.observed import PairRenderer, Perception
from quantart.evaluation.task import ReconstructionTask, TransferTask
from quantart.images.arrays import Picture, write_image
from quantart.losses.lpips import LPIPS
from quantart.models.alpha_beta import ALPHA_OF, Fidelity
from quantart.models.fidelity import FidelityControl
from quantart.models.stage_1 import ExperimentStage1
from quantart.models.stage_2 import ExperimentStage2
from quantart.reporting.grids import GRID_PAIRS, ranked_grid, ranked_pairs, transfer_grid
from quantart.reporting.reports import write_reports
from quantart.reporting.sweep import Sweep
from quantart.vocabulary.methods import MAGENTA, MODEL, REFINED
from quantart.vocabulary.metrics import TEXTURE
from quantart.vocabulary.names import Domain, FeatureNetworkName, PerceptualNetworkName

EACH_EXTREME = 3
SWEPT, EXTREMES = "sweep", "extremes"
_Network = TypeVar("_Network", bound=torch.nn.Module)


class Result(NamedTuple):
    """One network measured."""

    name: str  # variant, setting of the fidelity, `sweep`, or domain
    evaluation: EvaluationResult
    is_transfer: bool  # of stage 2, else a reconstruction
    as_trained: bool  # at the fidelity that the network has by itself
    side: int  # of the squares, in pixels
    fidelity: Fidelity = Fidelity(math.nan, math.nan)  # NaNs of a sweep and of a reconstruction
    images: Mapping[str, Picture] = MappingProxyType({})  # shown with the run, by name
    sweep: Sweep | None = None


@dataclass(frozen=True)
class FidelitySettings:
    """How a network is measured other than as it was trained: under control of its fidelity."""

    control: FidelityControl
    fidelities: Sequence[Fidelity]  # one, or those of a sweep
    sweep: bool


class Judge:
    """The networks that measure others, and what does not change from one measured network to the next.

    `network` compares pictures; `features` compares sets of pictures, and is a second judge of texture and structure
    unless it is inception_v3. `weights` has the files of weights of one's own.
    """

    def __init__(
        self,
        network: PerceptualNetworkName,
        features: FeatureNetworkName,
        *,
        weights: Mapping[FeatureNetworkName, Path],
        batch_size: int,
        magenta: bool,
        refine: int,
        device: torch.device,
    ) -> None:
        self._device = device
        self._batch_size = batch_size
        self._magenta = magenta
        self._refine = refine
        lpips = self.placed(LPIPS(network, weights.get(network)))
        textures = [lpips]
        if features != "inception_v3" and features != network:
            textures.append(self.placed(LPIPS(features, weights.get(features))))
        self.perception = Perception(
            lpips,
            self.placed(FeatureNetwork(features, weights.get(features))),
            textures,
        )

    def measure_transfer(
        self, model: ExperimentStage2, task: TransferTask, settings: FidelitySettings | None, *, pictures: bool
    ) -> Result:
        """Measure style transfer, without settings as it was trained; a sweep has no `pictures`."""
        painters: dict[str, Painter] = {}
        if settings is not None:
            control = self.placed(settings.control)
            painters = {
                fidelity.name if settings.sweep else MODEL: partial(methods.mixed, control, fidelity)
                for fidelity in settings.fidelities
            }
        extras: dict[str, Painter] = {}
        if self._refine:
            extras[REFINED] = partial(methods.refined, model, self._refine)
        if self._magenta:
            stylizer = MagentaStylizer()
            extras[MAGENTA] = lambda photos, paintings: methods.repainted(model, stylizer(photos, paintings))
        render = PairRenderer(model, task, self.perception, self._batch_size, painters, extras)
        found = evaluate_transfer(render, samples=GRID_PAIRS)
        if settings is not None and settings.sweep:
            sweep = Sweep.of(found, list(settings.fidelities), self.perception.lpips)
            return Result(SWEPT, found, is_transfer=True, as_trained=False, side=task.side, sweep=sweep)
        as_trained = settings is None
        fidelity = model_fidelity(model) if settings is None else settings.fidelities[0]
        return Result(
            model.variant if as_trained else fidelity.name,
            found,
            is_transfer=True,
            as_trained=as_trained,
            side=task.side,
            fidelity=fidelity,
            images=self._images(render, found) if pictures else {},
        )

    def measure_reconstruction(self, model: ExperimentStage1, task: ReconstructionTask, domain: Domain) -> Result:
        """Measure a VQGAN on pictures of a domain."""
        found = evaluate_reconstruction(model, task, self.perception, batch_size=self._batch_size)
        return Result(domain, found, is_transfer=False, as_trained=True, side=task.side)

    def placed(self, network: _Network) -> _Network:
        """The network on the device on which everything is measured."""
        # channels_last makes the attention four times as fast on CPUs, the convolutions one and a half times
        return network.to(self._device).to(memory_format=torch.channels_last)

    def _images(self, render: PairRenderer, found: EvaluationResult) -> dict[str, Picture]:
        """Grids of the first pairs, and of the best, the median and the worst."""
        column = f"{TEXTURE}{self.perception.lpips.network}"
        ranked = ranked_pairs(found.table, column, EACH_EXTREME)
        pictures = render.paint(sorted({number for numbers in ranked.values() for number in numbers}))
        return {
            "transfers": transfer_grid(list(found.samples.values())),
            EXTREMES: ranked_grid(pictures, found.table, column, EACH_EXTREME),
        }


def model_fidelity(model: ExperimentStage2) -> Fidelity:
    """The fidelity of a network alone, as it was trained."""
    return Fidelity(ALPHA_OF[model.variant], 1.0)


def task_digest(result: Result, weights: Sequence[str]) -> str:
    """What was measured, by hash; with the checksums of weights of one's own, if there are any."""
    own = result.evaluation.digest
    return hashlib.sha256("\n".join([own, *weights]).encode()).hexdigest() if weights else own


def report(folder: Path, results: Sequence[Result], in_training: Mapping[str, str]) -> dict[str, Any]:
    """Write the reports (see `write_reports`, or of a sweep `Sweep.write`) and return every value.

    `in_training` has a sentence by the name of each result of style transfer.
    """
    if sweep := results[0].sweep:
        return sweep.write(folder)
    transfers = {result.name: result.evaluation for result in results if result.is_transfer}
    values = write_reports(folder, transfers, {r.name: r.evaluation for r in results if not r.is_transfer}, in_training)
    for result in results:
        if EXTREMES in result.images:
            write_image(folder / "grids" / f"{result.name}_{EXTREMES}.png", result.images[EXTREMES])
    return values
