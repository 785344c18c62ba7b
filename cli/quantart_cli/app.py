"""The commands, in the order in which one meets them. Heavy imports stay inside, so that `--help` is quick."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from quantart import __version__

if TYPE_CHECKING:
    from quantart.project import Project

ORDER = [
    "doctor",
    "preset",
    "prepare",
    "pair",
    "train",
    "encode",
    "evaluate",
    "export",
    "compare",
    "import-checkpoint",
    "stylize",
    "serve",
    "registry",
    "ui",
    "sync",
    "summary",
]


class InOrder(TyperGroup):
    """Lists the commands in the order in which one meets them."""

    def list_commands(self, ctx: Any) -> list[str]:
        return ORDER


class SeveralStyles(TyperCommand):
    """`CONTENT… --style A B`: what follows the option is style too, up to the next one, as a shell's own `*.jpg` needs.

    `--style=A` takes one value; after `--` no word is an option.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        end = args.index("--") if "--" in args else len(args)
        taken: list[str] = []
        styles = False
        for place, word in enumerate(args[:end]):
            if word.startswith("-"):
                styles = word == "--style"
            elif styles and args[place - 1] != "--style":
                taken.append("--style")
            taken.append(word)
        return super().parse_args(ctx, taken + args[end:])


app = typer.Typer(
    cls=InOrder,
    help="QuantArt: turn photographs into paintings through two learned codebooks.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
train_app = typer.Typer(help="Train a stage: the VQGANs (stage1) or the style transfer network (stage2).")
registry_app = typer.Typer(help="The registered versions, and which of them is the champion.")
preset_app = typer.Typer(help="Set params.yaml up for a task of the paper, or for your own pictures.")
SET_UP = "Set up"
PIPELINE = "Pipeline (what dvc.yaml calls, in order)"
USE = "Use"
app.add_typer(preset_app, name="preset", rich_help_panel=SET_UP, no_args_is_help=True)
app.add_typer(train_app, name="train", rich_help_panel=PIPELINE, no_args_is_help=True)
app.add_typer(registry_app, name="registry", rich_help_panel=USE, no_args_is_help=True)


class Domain(StrEnum):
    content = "content"
    style = "style"


class Stage1Domain(StrEnum):
    base = "base"
    content = "content"
    style = "style"


class Split(StrEnum):
    train = "train"
    val = "val"
    test = "test"


class Variant(StrEnum):
    discrete = "discrete"
    continuous = "continuous"


Alpha = Annotated[
    float | None,
    typer.Option(
        help="Visual fidelity, 1 (discrete) to 0 (continuous); default: the exported variant's, or the run's."
    ),
]
Beta = Annotated[float, typer.Option(help="Style fidelity, 1 (style) to 0 (content).")]
Name = Annotated[str | None, typer.Option(help="Of the registered model; default: export.name of params.yaml.")]
WhichVersion = Annotated[
    str | None,
    typer.Argument(
        metavar="VERSION", help="Number or alias; default: the one in runs/export.json, or else the alias `challenger`."
    ),
]
SERVED = "Registry address; default: the version in runs/export.json, or else the alias `challenger`."


def _version(wanted: bool) -> None:
    if wanted:
        print(f"quantart {__version__}")
        raise typer.Exit


def _project() -> Project:
    from quantart.project import find_project

    return find_project()


def _use_store() -> None:
    """Point MLflow to the project's tracking store."""
    from quantart.tracking.store import configure

    configure(_project().root)


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


@app.command(rich_help_panel=SET_UP)
def doctor() -> None:
    """Look whether this machine and this project can run the pipeline, and say what mends what can't.

    It makes and changes nothing. The exit code is 1 where the default pipeline can't run.

    Example: quantart doctor
    """
    from quantart.doctor.checks import examine, print_rows
    from quantart.doctor.row import State
    from quantart.project import project_if_any

    project = project_if_any()
    rows = examine(project.root if project else None)
    print_rows(rows)
    if any(row.state is State.fails for row in rows):
        raise typer.Exit(1)


@preset_app.command("list")
def list_presets() -> None:
    """List the presets.

    Example: quantart preset list
    """
    from rich.console import Console

    from quantart.presets import preset_table

    Console().print(preset_table(_project()))


@preset_app.command("show")
def show_preset(name: Annotated[str, typer.Argument(help="One of `quantart preset list`.")]) -> None:
    """Print the params.yaml that a preset gives; what differs from the present one is marked.

    Example: quantart preset show coco2art
    """
    from quantart.presets import show_preset

    print(show_preset(_project(), name), end="")


@preset_app.command("use")
def use_preset(name: Annotated[str, typer.Argument(help="One of `quantart preset list`.")]) -> None:
    """Write params.yaml from a preset, keep the one before beside it, and say what changed.

    The preset decides data, model, stage1, encode and stage2; your seed, evaluate and export stay as they are, but for
    what the preset names.

    Example: quantart preset use custom_unpaired
    """
    from quantart.presets import use_preset

    print(use_preset(_project(), name))


@app.command(rich_help_panel=PIPELINE)
def prepare(
    domain: Annotated[Domain, typer.Option(help="Photographs (content) or paintings (style).")],
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; default: one per core.")] = None,
) -> None:
    """Decode, check, resize, split and pack pictures.

    Example: quantart prepare --domain content
    """
    from quantart.pipeline import prepare as stage

    stage.run(_project(), domain.value, workers=workers)


@app.command(rich_help_panel=PIPELINE)
def pair() -> None:
    """Fix which held-out pictures are measured together.

    Example: quantart pair
    """
    from quantart.pipeline import pair as stage

    stage.run(_project())


@train_app.command("stage1")
def train_stage1(
    domain: Annotated[Stage1Domain, typer.Option(help="Both domains together (base), or one, from the base.")],
) -> None:
    """Train a VQGAN. Stopped, it resumes at its last checkpoint.

    Example: quantart train stage1 --domain base
    """
    from quantart.training.launch import launch_if_wanted

    launch_if_wanted("quantart_cli", sys.argv[1:])
    from quantart.pipeline import stage1

    stage1.run(_project(), domain.value)


@train_app.command("stage2")
def train_stage2(
    variant: Annotated[Variant, typer.Option(help="On codes (discrete) or on latents (continuous).")],
) -> None:
    """Train the style transfer network on stored codes. Stopped, it resumes at its last checkpoint.

    Example: quantart train stage2 --variant discrete
    """
    from quantart.training.launch import launch_if_wanted

    launch_if_wanted("quantart_cli", sys.argv[1:])
    from quantart.pipeline import stage2

    stage2.run(_project(), variant.value)


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

    stage.run(_project(), domain.value)


@app.command(rich_help_panel=PIPELINE)
def evaluate(
    run_id: Annotated[
        str | None,
        typer.Option(help="A training run in MLflow (id, its beginning, or name); default: this project's latest."),
    ] = None,
    alpha: Alpha = None,
    beta: Beta = 1.0,
    sweep: Annotated[bool, typer.Option("--sweep", help="A grid of alpha and beta, with a plot.")] = False,
    pairs: Annotated[int | None, typer.Option(min=2, help="So many pairs, drawn by the seed.")] = None,
    split: Annotated[Split, typer.Option(help="Of the project's pictures.")] = Split.test,
    content: Annotated[Path | None, typer.Option(help="Photographs of your own: a folder, with --style.")] = None,
    style: Annotated[Path | None, typer.Option(help="Paintings of your own: a folder, with --content.")] = None,
    weights: Annotated[
        list[Path] | None, typer.Option(help="File with weights of a network that judges (repeatable).")
    ] = None,
    magenta: Annotated[
        bool | None, typer.Option("--magenta/--no-magenta", help="Magenta's network as one more baseline.")
    ] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Pairs at a time.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda or cuda:1; default: a GPU if there is one.")] = None,
) -> None:
    """Measure on held-out pairs beside baselines, and log it to the run.

    Another alpha or beta than the model's own is logged and reported under its own name.

    Example: quantart evaluate --run-id 3f2a9c --content my/photos --style my/paintings
    """
    from quantart.training.launch import launch_if_wanted

    launch_if_wanted("quantart_cli", sys.argv[1:])
    from quantart.pipeline import evaluate as stage
    from quantart.pipeline.evaluator import Options
    from quantart.project import project_if_any

    options = Options(
        alpha=alpha,
        beta=beta,
        sweep=sweep,
        split=split.value,
        content=content,
        style=style,
        pairs=pairs,
        weights=tuple(weights or ()),
        magenta=magenta,
        batch_size=batch_size,
        device=device,
    )
    stage.run(project_if_any(), run_id, options)


@app.command(rich_help_panel=USE)
def compare(
    runs: Annotated[
        list[str] | None, typer.Argument(metavar="[RUN]...", help="Runs in MLflow: id, beginning of an id, or name.")
    ] = None,
    last: Annotated[int | None, typer.Option(min=1, help="The latest finished stage-2 runs, that many.")] = None,
    experiment: Annotated[str | None, typer.Option(help="Only runs of this MLflow experiment.")] = None,
    filter: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Only runs that MLflow's search language lets through.")
    ] = None,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write one page with pictures.")] = None,
    csv: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a table for machines.")] = None,
) -> None:
    """Say which of several evaluated runs is better beyond noise.

    Example: quantart compare 3f2a9c 81d04e --html report.html
    """
    from quantart.pipeline import compare as work
    from quantart.project import project_if_any
    from quantart.reporting.compare_tables import print_comparison

    found = work.run(project_if_any(), runs or [], last=last, experiment=experiment, filter=filter, html=html, csv=csv)
    print_comparison(found)


@app.command(rich_help_panel=PIPELINE)
def export(
    run_id: Annotated[
        str | None, typer.Option(help="A stage-2 run in MLflow; default: this project's, of both variants.")
    ] = None,
) -> None:
    """Package the trained variants as one model, register it, and point the alias `challenger` to it.

    Example: quantart export
    """
    from quantart.pipeline import export as stage

    stage.run(_project(), run_id)


@app.command("import-checkpoint", rich_help_panel=USE)
def import_checkpoint(
    checkpoint: Annotated[Path, typer.Argument(help="Of the QuantArt reference or of Taming Transformers.")],
    out: Annotated[Path, typer.Argument(help="Folder for the model, new or empty.")],
    config: Annotated[Path | None, typer.Option(help="The YAML file it was trained with.")] = None,
    resolution: Annotated[int | None, typer.Option(min=1, help="Side in pixels it was trained at.")] = None,
    legacy: Annotated[
        bool, typer.Option("--legacy/--no-legacy", help="Form of the codebook loss it was trained with.")
    ] = True,
    residual: Annotated[
        bool | None,
        typer.Option("--residual/--no-residual", help="Whether attention adds to its input; default: it does."),
    ] = None,
    continuous: Annotated[
        bool, typer.Option("--continuous", help="It was trained without codebooks, it has not lost them.")
    ] = False,
) -> None:
    """Turn a checkpoint into a model's folder; inside a project, into a run as well.

    Example: quantart import-checkpoint vqgan_wikiart.ckpt models/wikiart --resolution 256
    """
    from quantart.pipeline import import_checkpoint as work
    from quantart.project import project_if_any

    work.run(
        project_if_any(),
        checkpoint,
        out,
        config=config,
        resolution=resolution,
        legacy=legacy,
        residual=residual,
        continuous=continuous,
    )


@app.command(rich_help_panel=USE, cls=SeveralStyles)
def stylize(
    content: Annotated[list[str], typer.Argument(help="Photographs: files, folders, patterns such as 'photos/*.jpg'.")],
    style: Annotated[list[str], typer.Option(help="Paintings, likewise: all up to the next option.")],
    out: Annotated[
        Path, typer.Option(help="Folder for the pictures; of one photograph and one painting, or a file.")
    ] = Path("stylized"),
    model: Annotated[
        list[str] | None,
        typer.Option(
            help="A folder, or an address such as models:/quantart@champion; twice for a discrete and a continuous "
            "one; default: this project's models."
        ),
    ] = None,
    alpha: Alpha = None,
    beta: Beta = 1.0,
    size: Annotated[
        int | None,
        typer.Option(
            help="Pixels of the long side, 32 to 8192, in all at most 2048 × 2048; default: the photograph's own, at "
            "most 1024."
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite pictures that are there.")] = False,
) -> None:
    """Paint photographs in the manner of paintings: each in each, and a grid of them where there are several paintings.

    Pictures that can't be read are named and left out; the exit code is then 1.

    Example: quantart stylize photos --style a.jpg b.jpg --out painted
    """
    from quantart.stylize.files import named_networks, project_networks, stylize_files
    from quantart.stylize.plan import make_plan

    plan = make_plan(content, style, out, force=force)
    if any(":/" in address for address in model or []):
        _use_store()
    networks = named_networks(model, alpha) if model else project_networks(_project(), alpha)
    stylized = stylize_files(plan, networks, beta=beta, size=size)
    for reason in stylized.skipped:
        print(f"skipped {reason}", file=sys.stderr)
    print(stylized.summary)
    if stylized.skipped:
        raise typer.Exit(1)


@app.command(rich_help_panel=USE)
def serve(
    model: Annotated[str | None, typer.Option(help=SERVED)] = None,
    host: Annotated[str, typer.Option(help="Address to listen at; the default is this machine only.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535)] = 5001,
    limit: Annotated[
        list[str] | None, typer.Option(help="Such as max_rows=8, in place of the model's own; once for each.")
    ] = None,
    threads: Annotated[int, typer.Option(min=0, help="Threads of the network; 0: one per core.")] = 0,
) -> None:
    """Answer pictures over HTTP from a registered model.

    Example: quantart serve --port 5001 --limit max_rows=8
    """
    from quantart.registry.registered import default_address
    from quantart.serving.limits import parse_limits
    from quantart.serving.server import serve as run_server

    limits = parse_limits(limit or [])
    address = model or default_address(_project())
    _use_store()
    run_server(address, host, port, limits=limits, threads=threads)


@registry_app.command("list")
def list_versions(name: Name = None) -> None:
    """List the versions with their aliases and what was measured of them.

    Example: quantart registry list
    """
    from quantart.registry.tables import print_versions
    from quantart.registry.versions import open_registry

    _use_store()
    print_versions(open_registry(_project(), name))


@registry_app.command("show")
def show_version(version: WhichVersion = None, name: Name = None) -> None:
    """Show one version: where it comes from and all that was measured of it.

    Example: quantart registry show champion
    """
    from quantart.registry.tables import print_version
    from quantart.registry.versions import chosen_version, open_registry

    project = _project()
    gates = project.params().promote
    _use_store()
    registry = open_registry(project, name)
    print_version(registry, chosen_version(project, registry, version), gates)


@registry_app.command("promote")
def promote_version(version: WhichVersion = None, name: Name = None) -> None:
    """Make a version the champion if its evaluation passes the gates in params.yaml; exit code 1 if it does not.

    Example: quantart registry promote 3
    """
    from quantart.registry.promotion import promote

    _use_store()
    done = promote(_project(), version, name)
    print(done)
    if done.refused:
        raise typer.Exit(1)


@registry_app.command("rollback")
def rollback_champion(name: Name = None) -> None:
    """Make the champion before this one champion again.

    Example: quantart registry rollback
    """
    from quantart.registry.promotion import rollback

    _use_store()
    moved = rollback(_project(), name)
    print(f"version {moved.version} is champion again; version {moved.before} was until now")


@app.command(rich_help_panel=USE)
def ui(
    host: Annotated[str, typer.Option(help="Address to listen at; the default is this machine only.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535)] = 5000,
) -> None:
    """Open the MLflow UI on this project's runs.

    Example: quantart ui
    """
    from quantart.tracking.ui import show_ui

    _use_store()
    show_ui(host, port)


@app.command(rich_help_panel=USE)
def sync() -> None:
    """Deliver to the tracking server what was logged while it was down; exit code 1 if something is left.

    Example: quantart sync
    """
    from quantart.tracking.sync import sync as work

    if not work(_project().root):
        raise typer.Exit(1)


@app.command(rich_help_panel=USE)
def summary() -> None:
    """Say what the pipeline has made and where to look.

    Example: quantart summary
    """
    from quantart.pipeline.summary import print_summary

    print_summary(_project())
