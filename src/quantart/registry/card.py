"""The model card: what a packaged model is, in Markdown, for the registry's page and for the package itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from quantart.evaluation.estimates import Estimate
from quantart.models.alpha_beta import ALPHA_OF
from quantart.stylize.sizes import DEFAULT_SIZE, MIN_SIDE
from quantart.tracking.lineage import DataUsed
from quantart.vocabulary.metrics import larger_is_better
from quantart.vocabulary.names import Variant

_CARD = """\
# {name}: photographs into paintings

Vector-quantised style transfer (Huang et al., CVPR 2023): paints a content picture in the manner of a style picture.
{alpha}

## Data

{data}

## Measured

{measured}

## Limits

- Trained on squares of {resolution} pixels. Larger pictures are painted with texture at the same scale in pixels: \
details are no finer and strokes no broader.
- It knows the paintings it was trained on; styles unlike them were not measured.
- Measured on few pictures from the same sources as the training pictures, not on yours.
- Pictures have at least {side} × {side} pixels, one picture to a file; the model's configuration sets the largest \
(max_pixels, max_bytes, max_rows, max_size).
- Whoever uses it answers for the rights in the pictures sent.

## Lineage

{lineage}

## Use

```python
import base64, mlflow, pandas as pd
model = mlflow.pyfunc.load_model("models:/{name}/VERSION")
row = {{"content": open("photo.jpg", "rb").read(), "style": open("painting.jpg", "rb").read()}}
answer = model.predict(pd.DataFrame([row]), params={{"beta": 1.0, "size": 512}})
open("out.png", "wb").write(base64.b64decode(answer["image"][0]))
```

Over HTTP the pictures are base64 text. `alpha` and `beta` are in 0…1; `size` is the long side in pixels, by default \
the content picture's own, at most {size}. `refine` is a number of steps, 0 by default, in which each picture is \
improved, starting from the network's answer. A step takes about as long as that answer; `refined` says how many were \
made.
"""


def model_card(
    *,
    name: str,
    runs: Mapping[Variant, tuple[str, str]],
    resolution: int,
    data: Mapping[DataUsed, str],
    metrics: Mapping[str, Estimate],
    pairs: int | None,
    lineage: Mapping[str, str],
) -> str:
    """The card in Markdown.

    Args:
        runs: each variant's run, by name and id; the first variant paints where no alpha is given.
        resolution: side in pixels of the squares that the networks were trained on.
        data: the licences of the pictures that they were trained and measured on.
        metrics: of the first variant on held-out pairs; empty: it was not evaluated.
        pairs: how many these were; None: not known.
    """
    default, *others = runs
    alpha = f"{ALPHA_OF[default]:g}"
    alone = f"It holds only the {default} network: alpha (visual fidelity) is always {alpha}."
    networks = {f"{variant} network": f"run {run} ({run_id})" for variant, (run, run_id) in runs.items()}
    return _CARD.format(
        name=name,
        alpha=f"By default alpha (visual fidelity) is {alpha}: {default}." if others else alone,
        data=_data(data),
        measured=_measured(metrics, pairs, default, others),
        resolution=resolution,
        side=MIN_SIDE,
        lineage="\n".join(f"- {fact}: {value}" for fact, value in {**networks, **lineage}.items()),
        size=DEFAULT_SIZE,
    )


def unjudged(variant: Variant, others: Sequence[Variant]) -> str:
    """A sentence on what the gates do not look at: `variant` was evaluated, the `others` are packaged with it."""
    if not others:
        return "Measured and judged by the gates at beta = 1 alone."
    return (
        f"Only the {variant} network was measured and judged by the gates, at beta = 1; the "
        f"{' and the '.join(others)} one and every alpha in between were not."
    )


def _data(data: Mapping[DataUsed, str]) -> str:
    if not data:
        return "Its runs logged none."
    lines = ["| use | domain | pictures | source | sha256 | licence |", "|---|---|---|---|---|---|"]
    for used, licence in data.items():
        cells = (used.context, used.name, str(used.count), f"`{used.source}`", used.digest[:12], licence)
        lines.append(f"| {' | '.join(cell.replace('|', '¦') for cell in cells)} |")
    return "\n".join(lines)


def _measured(metrics: Mapping[str, Estimate], pairs: int | None, default: Variant, others: Sequence[Variant]) -> str:
    if not metrics:
        return "It has not been evaluated."
    rising = ", ".join(name for name in metrics if larger_is_better(name))
    better = f"smaller is better, except {rising}" if rising else "smaller is better"
    count = f"{pairs} " if pairs else ""
    lines = [f"The {default} network on {count}held-out pairs; {better}. {unjudged(default, others)}", ""]
    lines += ["| metric | value | 95 % interval |", "|---|---|---|"]
    for name, m in metrics.items():
        interval = f"{m.low:.4g} to {m.high:.4g}" if m.has_interval else "none"
        lines.append(f"| {name} | {m.value:.4g} | {interval} |")
    return "\n".join(lines)
