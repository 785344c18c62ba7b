"""The model card: what a packaged model is, in Markdown, for the registry's page and for the package itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from quantart.evaluation.resampling import Estimate
from quantart.models.fidelity import ALPHA_OF
from quantart.registry.gates import unjudged
from quantart.stylize.sizes import DEFAULT_SIZE, MIN_SIDE
from quantart.vocabulary.metrics import larger_is_better
from quantart.vocabulary.names import Variant


@dataclass(frozen=True)
class DataRow:
    """A set of pictures that the networks, or what they stand on, were trained or measured on."""

    use: str
    """`training` or `test`."""
    domain: str
    """`content` or `style`."""
    pictures: int
    source: str
    sha256: str
    licence: str


@dataclass(frozen=True)
class Card:
    """What is known of a packaged model when it is made.

    Attributes:
        name: in the registry.
        runs: of each variant, the run's name and id; the first is what paints where no alpha is given.
        resolution: side in pixels of the squares that the networks were trained on.
        data: what they were trained and measured on.
        metrics: of the first variant on held-out pairs; empty: it was not evaluated.
        pairs: how many these were; None: not known.
        lineage: further facts by name, such as the git commit.
    """

    name: str
    runs: Mapping[Variant, tuple[str, str]]
    resolution: int
    data: Sequence[DataRow]
    metrics: Mapping[str, Estimate]
    pairs: int | None
    lineage: Mapping[str, str]

    def markdown(self) -> str:
        sections = [self._head(), self._data(), self._metrics(), self._limits(), self._lineage(), self._use()]
        return "\n\n".join("\n".join(section) for section in sections) + "\n"

    def _head(self) -> list[str]:
        default = next(iter(self.runs))
        alpha = f"{ALPHA_OF[default]:g}"
        lines = [
            f"# {self.name}: photographs into paintings",
            "",
            "Vector-quantised style transfer (Huang et al., CVPR 2023): paints a content picture in the manner of a "
            "style picture.",
        ]
        if len(self.runs) > 1:
            lines.append(f"By default alpha (visual fidelity) is {alpha}: {default}.")
        else:
            lines.append(f"It holds the {default} network alone: alpha (visual fidelity) is {alpha}, always.")
        return lines

    def _data(self) -> list[str]:
        if not self.data:
            return ["## Data", "", "Its runs logged none."]
        lines = ["## Data", "", "| use | domain | pictures | source | sha256 | licence |", "|---|---|---|---|---|---|"]
        for row in self.data:
            cells = (row.use, row.domain, str(row.pictures), f"`{row.source}`", row.sha256[:12], row.licence)
            lines.append(f"| {' | '.join(cell.replace('|', '¦') for cell in cells)} |")
        return lines

    def _metrics(self) -> list[str]:
        default, *others = self.runs
        if not self.metrics:
            return ["## Measured", "", "It has not been evaluated."]
        pairs = f"{self.pairs} held-out pairs" if self.pairs else "held-out pairs"
        rising = ", ".join(name for name in self.metrics if larger_is_better(name))
        better = f"smaller is better, except {rising}" if rising else "smaller is better"
        lines = [
            "## Measured",
            "",
            f"The {default} network on {pairs}; {better}. {unjudged(default, others)}",
            "",
            "| metric | value | 95 % interval |",
            "|---|---|---|",
        ]
        return lines + [f"| {name} | {m.value:.4g} | {_interval(m)} |" for name, m in self.metrics.items()]

    def _limits(self) -> list[str]:
        return [
            "## Limits",
            "",
            f"- Trained on squares of {self.resolution} pixels. Larger pictures are painted at the same scale of "
            "texture: details are no finer and strokes no broader.",
            "- It knows the paintings it was trained on; how it does on styles unlike them was not measured.",
            "- Measured on few pictures from the same sources as the training pictures, not on yours.",
            f"- Pictures of at least {MIN_SIDE} × {MIN_SIDE} pixels, one picture to a file; the largest are set by the "
            "model's configuration (max_pixels, max_bytes, max_rows, max_size).",
            "- Whoever uses it answers for the rights in the pictures sent.",
        ]

    def _lineage(self) -> list[str]:
        lines = ["## Lineage", ""]
        lines += [f"- {variant} network: run {name} ({run_id})" for variant, (name, run_id) in self.runs.items()]
        return lines + [f"- {name}: {value}" for name, value in self.lineage.items()]

    def _use(self) -> list[str]:
        return [
            "## Use",
            "",
            "```python",
            "import base64, mlflow, pandas as pd",
            f'model = mlflow.pyfunc.load_model("models:/{self.name}/VERSION")',
            'row = {"content": open("photo.jpg", "rb").read(), "style": open("painting.jpg", "rb").read()}',
            'answer = model.predict(pd.DataFrame([row]), params={"beta": 1.0, "size": 512})',
            'open("out.png", "wb").write(base64.b64decode(answer["image"][0]))',
            "```",
            "",
            "Over HTTP the pictures are base64 text. `alpha` and `beta` lie in 0…1; `size` is the long side in pixels, "
            f"by default the content picture's own up to {DEFAULT_SIZE}.",
        ]


def _interval(measured: Estimate) -> str:
    return f"{measured.low:.4g} to {measured.high:.4g}" if measured.has_interval else "none"
