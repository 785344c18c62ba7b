"""Which runs take part when a stage-2 run is evaluated under fidelity control."""

from __future__ import annotations

from mlflow.entities import Run

from quantart.errors import UserError
from quantart.models.fidelity import ALPHA_OF, Fidelity, FidelityControl, settle
from quantart.models.stage_2 import ExperimentStage2
from quantart.pipeline.run_model import load_stage_2
from quantart.project import Project
from quantart.tracking.find import find_run, resolve, run_in_words
from quantart.tracking.lineage import find_sibling
from quantart.tracking.links import read_link
from quantart.vocabulary.names import VARIANTS, Variant

SWEEP = (0.0, 0.25, 0.5, 0.75, 1.0)


class ControlledRun:
    """A stage-2 run, with the other variant's where it is needed."""

    def __init__(self, project: Project | None, run: Run, model: ExperimentStage2) -> None:
        self._project = project
        self._run = run
        self._model = model
        self.sibling: Run | None = None
        """The other variant's run, once it was needed."""

    def settle(self, alpha: float | None, beta: float) -> Fidelity:
        """Check both controls, and find the other variant's run if they need it.

        Raises:
            UserError: a value out of range, or there is no other variant's run.
        """
        fidelity = settle(alpha, beta, VARIANTS, self._model.variant)
        for variant in fidelity.variants:
            if variant != self._model.variant and not self._find_sibling(variant):
                raise UserError(
                    f"run {run_in_words(self._run)}: alpha = {fidelity.alpha:g} needs a {variant} run too, on the same "
                    f"stage-1 runs and with the same parameters, and none finished; without it alpha is fixed at "
                    f"{1 - ALPHA_OF[variant]:g}"
                )
        return fidelity

    def sweep(self) -> list[Fidelity]:
        """A grid of alpha and beta; of beta alone where there is no other variant's run."""
        other: Variant = "continuous" if self._model.variant == "discrete" else "discrete"
        alphas = SWEEP if self._find_sibling(other) else (ALPHA_OF[self._model.variant],)
        return [Fidelity(alpha, beta) for alpha in alphas for beta in SWEEP]

    def is_own(self, fidelity: Fidelity) -> bool:
        """Whether the model alone, as it was trained, does just this."""
        return fidelity == (ALPHA_OF[self._model.variant], 1.0)

    def control(self) -> FidelityControl:
        """The networks that take part."""
        return FidelityControl.of(self._model, *([load_stage_2(self.sibling)] if self.sibling else []))

    def _find_sibling(self, variant: Variant) -> bool:
        self.sibling = self.sibling or self._linked(variant) or find_sibling(self._run)
        return self.sibling is not None

    def _linked(self, variant: Variant) -> Run | None:
        """The project's run of the other variant, where this run is the project's too."""
        links = {v: self._project.link(f"stage2_{v}") for v in VARIANTS} if self._project else {}
        if not links or not all(link.is_file() for link in links.values()):
            return None
        if resolve(read_link(links[self._model.variant]).run_id) != self._run.info.run_id:
            return None
        return find_run(read_link(links[variant]).run_id)
