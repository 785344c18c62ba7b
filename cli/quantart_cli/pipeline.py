"""The commands that dvc.yaml calls, one per stage."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Option, Typer

from quantart.vocabulary.names import Domain, Split, Stage1Domain, Variant
from quantart_cli.options import PIPELINE, Alpha, Beta, current_project, in_processes

OneDomain = Annotated[Domain, Option(help="Photographs (content) or paintings (style).")]
Data = Annotated[
    str | None,
    Option(metavar="ADDRESS", envvar="QUANTART_DATA", help="A copy of the folder data, such as s3://bucket/data."),
]

app = Typer()
train_app = Typer(no_args_is_help=True)
TRAIN = "Train a stage: the VQGANs (stage1) or the style transfer network (stage2)."
app.add_typer(train_app, name="train", rich_help_panel=PIPELINE, help=TRAIN)


@app.command(rich_help_panel=PIPELINE)
def code() -> None:
    """Write down which code each stage runs, so that DVC runs a stage again if its code has changed.

    Example: quantart code
    """
    from quantart.pipeline import code as stage

    stage.run(current_project())


@app.command(rich_help_panel=PIPELINE)
def prepare(
    domain: OneDomain,
    workers: Annotated[int | None, Option(min=1, help="Worker processes. Default: one per core.")] = None,
    ray: Annotated[
        str | None,
        Option(metavar="ADDRESS", envvar="QUANTART_RAY", help="A Ray cluster that does the work, or `auto`."),
    ] = None,
) -> None:
    """Decode, check, resize, split and pack pictures. If it was stopped, it goes on where it was.

    Example: quantart prepare --domain content
    """
    from quantart.pipeline import prepare as stage

    stage.run(current_project(), domain, workers=workers, ray=ray)


@app.command(rich_help_panel=PIPELINE)
def pair() -> None:
    """Choose once which held-out photographs and paintings are measured as pairs.

    Example: quantart pair
    """
    from quantart.pipeline import pair as stage

    stage.run(current_project())


@train_app.command("stage1")
def train_stage1(
    domain: Annotated[Stage1Domain, Option(help="base: both domains together. Else: one, from the base.")],
    data: Data = None,
) -> None:
    """Train a VQGAN. If it was stopped, it resumes from its last checkpoint.

    Example: quantart train stage1 --domain base
    """
    in_processes()
    from quantart.pipeline import stage1

    stage1.run(current_project(), domain, data)


@train_app.command("stage2")
def train_stage2(
    variant: Annotated[Variant, Option(help="With codebooks (discrete) or without (continuous).")],
    data: Data = None,
) -> None:
    """Train the style transfer network. If it was stopped, it resumes from its last checkpoint.

    Example: quantart train stage2 --variant discrete
    """
    in_processes()
    from quantart.pipeline import stage2

    stage2.run(current_project(), variant, data)


@app.command(rich_help_panel=PIPELINE)
def encode(domain: OneDomain) -> None:
    """Run the frozen encoder once over a domain and store its codes. If it was stopped, it goes on where it was.

    Example: quantart encode --domain style
    """
    in_processes()
    from quantart.pipeline import encode as stage

    stage.run(current_project(), domain)


@app.command(rich_help_panel=PIPELINE)
def evaluate(
    run_id: Annotated[
        str | None,
        Option(
            help="A training run in MLflow: id, start of the id, or name; or quantart/open, the model that comes with "
            "quantart. Default: this project's."
        ),
    ] = None,
    alpha: Alpha = None,
    beta: Beta = 1.0,
    sweep: Annotated[bool, Option("--sweep", help="Measure a grid of alpha and beta, and plot it.")] = False,
    pairs: Annotated[int | None, Option(min=2, help="Number of pairs, drawn with the seed.")] = None,
    size: Annotated[int | None, Option(min=32, help="Side in pixels of the pairs' pictures.")] = None,
    split: Annotated[Split, Option(help="Which of the project's pictures to measure on.")] = "test",
    content: Annotated[Path | None, Option(help="Folder of your own photographs; needs --style.")] = None,
    style: Annotated[Path | None, Option(help="Folder of your own paintings; needs --content.")] = None,
    weights: Annotated[
        list[Path] | None, Option(help="File with the weights of a network to measure with (repeatable).")
    ] = None,
    magenta: Annotated[
        bool | None, Option("--magenta/--no-magenta", help="Add Magenta's network as a baseline.")
    ] = None,
    refine: Annotated[
        int | None, Option(min=0, metavar="N", help="Add the network's answers refined in N steps, minutes a pair.")
    ] = None,
    batch_size: Annotated[int | None, Option(min=1, help="Pairs per batch.")] = None,
    device: Annotated[str | None, Option(help="cpu, cuda or cuda:1. Default: a GPU if there is one.")] = None,
) -> None:
    """Measure models on held-out pairs beside baselines, and log the results to their runs.

    Results for an alpha or beta other than the model's own are logged and reported under a name of their own.

    Example: quantart evaluate --run-id 3f2a9c --content my/photos --style my/paintings
    """
    in_processes()
    from quantart.pipeline import evaluate as stage
    from quantart.project import project_if_any

    options = stage.Options(
        alpha=alpha,
        beta=beta,
        sweep=sweep,
        split=split,
        content=content,
        style=style,
        pairs=pairs,
        size=size,
        weights=tuple(weights or ()),
        magenta=magenta,
        refine=refine,
        batch_size=batch_size,
        device=device,
    )
    stage.run(project_if_any(), run_id, options)


@app.command(rich_help_panel=PIPELINE)
def export(
    run_id: Annotated[
        str | None,
        Option(
            help="A stage-2 run in MLflow, or quantart/open, the model that comes with quantart. Default: this "
            "project's models, both variants."
        ),
    ] = None,
    onnx: Annotated[
        Path | None,
        Option(metavar="FOLDER", help="Write the network as ONNX graphs to this new folder, and register nothing."),
    ] = None,
) -> None:
    """Package the trained variants as one model, register it, and move the alias `challenger` to it.

    Example: quantart export
    """
    from quantart.pipeline import export as stage
    from quantart.project import project_if_any

    if onnx is None:
        stage.run(current_project(), run_id)
    else:
        stage.write_onnx(project_if_any(), run_id, onnx)
