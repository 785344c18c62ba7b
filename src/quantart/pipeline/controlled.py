"""Fidelity control of a trained network: the other variant's, and the settings of an evaluation with alpha and beta."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory

from accelerate import PartialState

from quantart.errors import UserError
from quantart.models.alpha_beta import ALPHA_OF, Fidelity, checked_fidelity
from quantart.models.fidelity import FidelityControl
from quantart.models.shipped import SHIPPED
from quantart.models.stage_2 import ExperimentStage2
from quantart.pipeline.measure import FidelitySettings, model_fidelity
from quantart.pipeline.trained import IMPORTED, Trained, project_network, run_network
from quantart.project import Project
from quantart.tracking.lineage import find_sibling
from quantart.vocabulary.names import VARIANTS, Variant

SWEEP = (0.0, 0.25, 0.5, 0.75, 1.0)

log = logging.getLogger(__name__)


@contextmanager
def controlled(
    project: Project | None,
    trained: Trained,
    network: ExperimentStage2,
    alpha: float | None,
    beta: float,
    sweep: bool,
) -> Iterator[tuple[FidelitySettings | None, Trained | None]]:
    """The settings of a trained network, and the other variant's if it takes part, on disk within the block.

    No settings: what the network does alone, as it was trained.
    """
    asked, variant = checked_fidelity(alpha, beta, VARIANTS, network.variant), network.variant
    if not sweep and asked == model_fidelity(network):
        yield None, None
        return
    lacking = [each for each in (VARIANTS if sweep else asked.variants) if each != variant]
    with _network_of(lacking[0], project, trained) if lacking else nullcontext() as other:
        if sweep:
            alphas = SWEEP if other else (ALPHA_OF[variant],)
            fidelities = [Fidelity(alpha, beta) for alpha in alphas for beta in SWEEP]
        elif lacking and other is None:
            raise UserError(
                f"{trained.name}: alpha = {asked.alpha:g} needs a {lacking[0]} run too, on the same stage-1 runs and "
                "with the same parameters, and none finished",
                f"train one, or leave alpha at {ALPHA_OF[variant]:g}",
            )
        else:
            fidelities = [asked]
        if other is not None and PartialState().is_main_process:
            log.info("with the other variant of %s", other.name)
        control = FidelityControl.of(network, *([other.load_stage_2("a mixture")] if other else []))
        yield FidelitySettings(control, fidelities, sweep), other


@contextmanager
def other_variant(trained: Trained) -> Iterator[Trained | None]:
    """The network that differs from a run's in its variant alone, on disk within the block; see `find_sibling`.

    That of `quantart/open` belongs to the same run.
    """
    if trained.run.data.tags.get(IMPORTED) == SHIPPED:
        with TemporaryDirectory() as folder:
            trained.load_stage_2("the other variant").without_codebooks().half().save_pretrained(folder)
            yield Trained(Path(folder), trained.run)
    elif sibling := find_sibling(trained.run):
        with run_network(sibling) as other:
            yield other
    else:
        yield None


@contextmanager
def _network_of(variant: Variant, project: Project | None, trained: Trained) -> Iterator[Trained | None]:
    """The network of the other variant, if there is one: beside the given one in the project, or of another run."""
    stage = f"stage2_{variant}"
    if project is not None and trained.folder.parent == project.root / "models":
        yield project_network(project, stage) if (project.root / "models" / stage).is_dir() else None
    else:
        with other_variant(trained) as other:
            yield other
