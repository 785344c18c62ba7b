"""The commands that dvc.yaml calls, one per stage."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from quantart.vocabulary.names import Domain, Split, Stage1Domain, Variant
from quantart_cli.options import PIPELINE, Alpha, Beta, current_project

app = typer.Typer()
train_app = typer.Typer(no_args_is_help=True)
app.add_typer(
    train_app,
    name="train",
    rich_help_panel=PIPELINE,
    help="Train a stage: the VQGANs (stage1) or the style transfer network (stage2).",
)


@app.command(rich_help_panel=PIPELINE)
def code() -> None:
    """Write down which code each stage runs, so that DVC runs a stage again if its code has changed.

    Example: quantart code
    """
    from quantart.pipeline import code as stage

    stage.run(current_project())


@app.command(rich_help_panel=PIPELINE)
def prepare(
    domain: Annotated[Domain, typer.Option(help="Photographs (content) or paintings (style).")],
    workers: Annotated[int | None, typer.Option(min=1, help="Worker processes. Default: one per core.")] = None,
) -> None:
    """Decode, check, resize, split and pack pictures.

    Example: quantart prepare --domain content
    """
    from quantart.pipeline import prepare as stage

    stage.run(current_project(), domain, workers=workers)


@app.command(rich_help_panel=PIPELINE)
def pair() -> None:
    """Choose once which held-out photographs and paintings are measured as pairs.

    Example: quantart pair
    """
    from quantart.pipeline import pair as stage

    stage.run(current_project())


@train_app.command("stage1")
def train_stage1(
    domain: Annotated[
        Stage1Domain,
        typer.Option(help="base: both domains together. Else: one, from the base."),
    ],
) -> None:
    """Train a VQGAN. If it was stopped, it resumes from its last checkpoint.

    Example: quantart train stage1 --domain base
    """
    from quantart.training.launch import launch_if_wanted

    launch_if_wanted("quantart_cli", sys.argv[1:])
    from quantart.pipeline import stage1

    stage1.run(current_project(), domain)


@train_app.command("stage2")
def train_stage2(
    variant: Annotated[Variant, typer.Option(help="Train on codes (discrete) or on latents (continuous).")],
) -> None:
    """Train the style transfer network on stored codes. If it was stopped, it resumes from its last checkpoint.

    Example: quantart train stage2 --variant discrete
    """
    from quantart.training.launch import launch_if_wanted

    launch_if_wanted("quantart_cli", sys.argv[1:])
    from quantart.pipeline import stage2

    stage2.run(current_project(), variant)


@app.command(rich_help_panel=PIPELINE)
def encode(
    domain: Annotated[Domain, typer.Option(help="Photographs (content) or paintings (style).")],
) -> None:
    """Run the frozen encoder once over a domain and store its codes.

    Example: quantart encode --domain style
    """
    from quantart.training.launch import launch_if_wanted

    launch_if_wanted("quantart_cli", sys.argv[1:])
    from quantart.pipeline import encode as stage

    stage.run(current_project(), domain)


@app.command(rich_help_panel=PIPELINE)
def evaluate(
    run_id: Annotated[
        str | None,
        typer.Option(help="A training run in MLflow: id, start of the id, or name. Default: this project's."),
    ] = None,
    alpha: Alpha = None,
    beta: Beta = 1.0,
    sweep: Annotated[bool, typer.Option("--sweep", help="Measure a grid of alpha and beta, and plot it.")] = False,
    pairs: Annotated[int | None, typer.Option(min=2, help="Number of pairs, drawn with the seed.")] = None,
    split: Annotated[Split, typer.Option(help="Which of the project's pictures to measure on.")] = "test",
    content: Annotated[Path | None, typer.Option(help="Folder of your own photographs; needs --style.")] = None,
    style: Annotated[Path | None, typer.Option(help="Folder of your own paintings; needs --content.")] = None,
    weights: Annotated[
        list[Path] | None, typer.Option(help="File with the weights of a network to measure with (repeatable).")
    ] = None,
    magenta: Annotated[
        bool | None, typer.Option("--magenta/--no-magenta", help="Add Magenta's network as a baseline.")
    ] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Pairs per batch.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda or cuda:1. Default: a GPU if there is one.")] = None,
) -> None:
    """Measure models on held-out pairs beside baselines, and log the results to their runs.

    Results for an alpha or beta other than the model's own are logged and reported under a name of their own.

    Example: quantart evaluate --run-id 3f2a9c --content my/photos --style my/paintings
    """
    from quantart.training.launch import launch_if_wanted

    launch_if_wanted("quantart_cli", sys.argv[1:])
    from quantart.pipeline import evaluate as stage
    from quantart.pipeline.evaluate import Options
    from quantart.project import project_if_any

    options = Options(
        alpha=alpha,
        beta=beta,
        sweep=sweep,
        split=split,
        content=content,
        style=style,
        pairs=pairs,
        weights=tuple(weights or ()),
        magenta=magenta,
        batch_size=batch_size,
        device=device,
    )
    stage.run(project_if_any(), run_id, options)


@app.command(rich_help_panel=PIPELINE)
def export(
    run_id: Annotated[
        str | None, typer.Option(help="A stage-2 run in MLflow. Default: this project's models, both variants.")
    ] = None,
) -> None:
    """Package the trained variants as one model, register it, and move the alias `challenger` to it.

    Example: quantart export
    """
    from quantart.pipeline import export as stage

    stage.run(current_project(), run_id)
