"""Which run trained the other variant of a network."""

from __future__ import annotations

from mlflow import MlflowClient
from mlflow.entities import Run

from quantart.tracking.labels import UPSTREAM, upstream_of

VARIANT = "stage2.variant"


def find_sibling(run_id: str) -> str | None:
    """The latest finished run that differs from this stage-2 run in its variant alone, if there is one.

    It stands on the same stage-1 runs (the tags `upstream.…`) and was told the same parameters, so that both networks
    can be mixed.
    """
    client = MlflowClient()
    run = client.get_run(run_id)
    upstream = upstream_of(run.data.tags)
    if not upstream:
        return None
    wanted = " and ".join(f"tags.`{UPSTREAM}{stage}` = '{value}'" for stage, value in upstream.items())
    found = client.search_runs(
        [run.info.experiment_id],
        f"attributes.status = 'FINISHED' and {wanted}",
        order_by=["attributes.start_time DESC"],
    )
    return next((other.info.run_id for other in found if _differ_in_variant_alone(run, other)), None)


def _differ_in_variant_alone(run: Run, other: Run) -> bool:
    one, two = dict(run.data.params), dict(other.data.params)
    variants = one.pop(VARIANT, None), two.pop(VARIANT, None)
    return (
        set(variants) == {"discrete", "continuous"}
        and one == two
        and upstream_of(run.data.tags) == upstream_of(other.data.tags)
    )
