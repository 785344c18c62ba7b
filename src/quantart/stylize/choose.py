"""What paints: graphs where they can, else torch, which takes seconds to import."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from quantart.graphs.network import have_graphs
from quantart.machine.device import surely_cpu
from quantart.models.alpha_beta import Fidelity, checked_fidelity
from quantart.models.folder import PACKAGED, is_address, read_config
from quantart.models.shipped import SHIPPED, shipped
from quantart.project import Project
from quantart.stylize.graph_painter import GraphPainter
from quantart.stylize.painter import Painter
from quantart.vocabulary.names import VARIANTS

log = logging.getLogger(__name__)

Chosen = tuple[Painter[Any, Any], Fidelity]


def chosen_painter(
    project: Project | None, models: list[str], alpha: float | None, beta: float = 1.0, *, refine: int = 0
) -> Chosen:
    """What paints with the named networks, and the fidelity to use it with.

    Without names they are the project's; without a project, or where it has trained nothing yet, those that come with
    the package. Without `alpha` it is the network that the project exports, see also `named_networks`. Graphs paint
    where nothing is refined, there is no GPU, and the networks (the project's, or the only named one) `have_graphs`.

    Raises:
        UserError: as `checked_fidelity`, or a folder or address holds no network.
    """
    if project is not None and not models:
        exported = project.params().export.variant  # a fault in the parameters is told before anything is painted
        if trained := project.trained_variants:
            return _of_project(project, checked_fidelity(alpha, beta, trained, exported), refine)
    if not models:
        why = "no project here" if project is None else f"nothing is trained in {project.root} yet"
        log.info("%s: painting with %s, the model that comes with quantart", why, SHIPPED)
        models = [SHIPPED]
    if _graphs_may_paint(refine) and (found := _by_graphs(models, alpha, beta)):
        return found
    from quantart.stylize.networks import named_networks
    from quantart.stylize.stylizer import Stylizer

    networks, fidelity = named_networks(models, alpha, beta)
    return Stylizer(networks), fidelity


def _graphs_may_paint(refine: int) -> bool:
    return not refine and surely_cpu()


def _of_project(project: Project, fidelity: Fidelity, refine: int) -> Chosen:
    folders = [project.stage2_model(variant) for variant in fidelity.variants]
    if _graphs_may_paint(refine) and have_graphs(*folders):
        return GraphPainter(*folders), fidelity
    from quantart.stylize.networks import project_networks
    from quantart.stylize.stylizer import Stylizer

    return Stylizer(project_networks(project, fidelity)), fidelity


def _by_graphs(models: list[str], alpha: float | None, beta: float) -> Chosen | None:
    if models == [SHIPPED]:
        return GraphPainter(shipped("stage2_discrete")), checked_fidelity(alpha, beta, VARIANTS)
    folder = Path(models[0])
    if len(models) > 1 or is_address(models[0]) or (folder / PACKAGED).is_file():
        return None
    if not have_graphs(folder):
        return None
    return GraphPainter(folder), checked_fidelity(alpha, beta, [read_config(folder)["variant"]])
