"""Commands that use what was trained: compare, stylize, serve and the like."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from typer import Argument, Exit, Option, Typer

from quantart_cli.options import USE, Alpha, Beta, Host, Port, SeveralStyles, current_project, use_store

Limit = Annotated[list[str] | None, Option(help="Override a limit of the model, such as max_size=1024 (repeatable).")]

app = Typer()


@app.command(rich_help_panel=USE)
def compare(
    runs: Annotated[
        list[str] | None,
        Argument(metavar="[RUN]...", help="Runs in MLflow: id, start of the id, or name, such as quantart/open."),
    ] = None,
    last: Annotated[int | None, Option(min=1, help="Compare the last N finished stage-2 runs.")] = None,
    experiment: Annotated[str | None, Option(help="Only runs of this MLflow experiment.")] = None,
    filter: Annotated[
        str | None, Option(metavar="TEXT", help="Only runs that match this filter in MLflow's search syntax.")
    ] = None,
    html: Annotated[Path | None, Option(metavar="FILE", help="Write an HTML page with pictures.")] = None,
    csv: Annotated[Path | None, Option(metavar="FILE", help="Write the table as CSV.")] = None,
) -> None:
    """Say which of several evaluated runs is better beyond noise.

    Example: quantart compare 3f2a9c 81d04e --html report.html
    """
    from quantart.pipeline import compare as work
    from quantart.project import project_if_any
    from quantart.reporting.comparison.tables import print_comparison

    found = work.run(project_if_any(), runs or [], last=last, experiment=experiment, filter=filter, html=html, csv=csv)
    print_comparison(found)


@app.command(rich_help_panel=USE)
def vote(
    runs: Annotated[
        list[str],
        Argument(metavar="RUN...", help="Runs of stage 2 in MLflow, and baselines: adain, colour_matched, magenta."),
    ],
    pairs: Annotated[int | None, Option(min=1, help="Number of pairs. Default: those that are evaluated.")] = None,
    size: Annotated[int | None, Option(min=32, help="Side in pixels of the pictures. Default: evaluate.size.")] = None,
    host: Host = "127.0.0.1",
    port: Port = 7870,
    open: Annotated[bool, Option("--open", help="Open the page in the default browser.")] = False,
) -> None:
    """Open a page that asks which of two paintings of a photograph is the better one, without saying whose they are.

    Example: quantart vote 3f2a9c 81d04e adain --open
    """
    from quantart.pipeline import vote as work

    work.run(current_project(), runs, pairs=pairs, size=size, host=host, port=port, browser=open)


@app.command("import-checkpoint", rich_help_panel=USE)
def import_checkpoint(
    checkpoint: Annotated[Path, Argument(help="Checkpoint of the QuantArt reference or of Taming Transformers.")],
    out: Annotated[Path, Argument(help="New or empty folder for the model.")],
    config: Annotated[Path | None, Option(help="YAML file that it was trained with.")] = None,
    resolution: Annotated[int | None, Option(min=1, help="Side in pixels of its training pictures.")] = None,
    legacy: Annotated[
        bool, Option("--legacy/--no-legacy", help="Form of the codebook loss that it was trained with.")
    ] = True,
    residual: Annotated[
        bool | None,
        Option("--residual/--no-residual", help="Whether attention blocks are residual. Default: they are."),
    ] = None,
    continuous: Annotated[
        bool, Option("--continuous", help="It was trained without codebooks; none are missing.")
    ] = False,
    ema: Annotated[bool, Option("--ema", help="Take the moving averages of the weights (EMA) that it holds.")] = False,
    prefix: Annotated[
        str | None, Option(help="Which of several networks: what its keys begin with, such as first_stage_model.")
    ] = None,
) -> None:
    """Convert a checkpoint to a model folder and, inside a project, to a run.

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
        ema=ema,
        prefix=prefix,
    )


@app.command(rich_help_panel=USE, cls=SeveralStyles)
def stylize(
    content: Annotated[
        list[str], Argument(help="Photographs: files, folders, patterns such as 'photos/*.jpg'. Or a video.")
    ],
    style: Annotated[list[str], Option(help="Paintings, given likewise: all words up to the next option.")],
    out: Annotated[
        Path,
        Option(help="Folder for the results, or a file for one photograph and one painting."),
    ] = Path("stylized"),
    model: Annotated[
        list[str] | None,
        Option(
            help="Folder of a model, packaged or not, an address such as models:/quantart@champion, or quantart/open, "
            "the model that comes with quantart. Give it twice for a discrete and a continuous model. Default: this "
            "project's models, else quantart/open."
        ),
    ] = None,
    alpha: Alpha = None,
    beta: Beta = 1.0,
    size: Annotated[
        int | None,
        Option(
            help="Long side in pixels, 32 to 8192, with at most 2048 × 2048 pixels in all. Default: that of the "
            "photograph, at most 1024."
        ),
    ] = None,
    refine: Annotated[
        int,
        Option(
            metavar="N",
            help="Improve each picture in N steps, starting from the network's answer; each takes about as long as "
            "that answer. Ctrl-C keeps the best so far.",
        ),
    ] = 0,
    force: Annotated[bool, Option("--force", help="Overwrite existing pictures.")] = False,
    skip_existing: Annotated[
        bool,
        Option(
            "--skip-existing",
            help="Leave pictures that are there: go on after a stop, or share the folder with other processes.",
        ),
    ] = False,
    show: Annotated[bool, Option("--show", help="Show the pictures, or the grid, if this is a terminal.")] = False,
) -> None:
    """Paint each photograph in the manner of each painting. With several paintings, add a grid of all results.

    Pictures that can't be read are named and skipped, and the exit code is 1. A video, or an animated GIF, is painted
    picture by picture; run again after a stop, it goes on. It needs the extra `video`.

    Example: quantart stylize photos --style a.jpg b.jpg --out painted
    """
    from quantart.models.folder import is_address
    from quantart.project import project_if_any
    from quantart.stylize.choose import chosen_painter
    from quantart.stylize.files import stylize_files
    from quantart.stylize.plan import Clip, find_clip, make_plan

    plan = find_clip(content, style, out, force=force, refine=refine) or make_plan(
        content, style, out, force=force, skip_existing=skip_existing
    )
    if any(map(is_address, model or [])):
        use_store()
    painter, fidelity = chosen_painter(project_if_any(), model or [], alpha, beta, refine=refine)
    if isinstance(plan, Clip):
        from quantart.stylize.video import stylize_clip

        print(stylize_clip(plan, painter, fidelity, size=size))
        return
    stylized = stylize_files(plan, painter, fidelity, size=size, refine=refine)
    for reason in stylized.skipped:
        print(f"skipped {reason}", file=sys.stderr)
    print(stylized.summary)
    if show:
        from quantart.stylize.show import show_pictures

        show_pictures(stylized.written[-stylized.grids :] if stylized.grids else stylized.written)
    if stylized.skipped:
        raise Exit(1)


@app.command(rich_help_panel=USE)
def serve(
    model: Annotated[
        str | None,
        Option(
            help="Registry address, or quantart/open, the model that comes with quantart. Default: the version in "
            "runs/export.json, else the alias `challenger`; without a project quantart/open."
        ),
    ] = None,
    host: Host = "127.0.0.1",
    port: Port = 5001,
    limit: Limit = None,
    threads: Annotated[int, Option(min=0, help="Threads of the network. 0: one per core.")] = 0,
) -> None:
    """Serve a model over HTTP.

    Example: quantart serve --port 5001 --limit max_rows=8
    """
    from quantart.models.folder import is_address
    from quantart.project import project_if_any
    from quantart.registry.versions import default_address
    from quantart.serving.requests import parse_limits
    from quantart.serving.server import serve as run_server

    limits = parse_limits(limit or [])
    address = model or default_address(project_if_any())
    if is_address(address):
        use_store()
    run_server(address, host, port, limits=limits, threads=threads)


@app.command(rich_help_panel=USE)
def demo(
    model: Annotated[
        list[str] | None,
        Option(
            help="Folder of a model, packaged or not, or an address such as models:/quantart@champion; repeatable. The "
            "page opens on the first and offers this project's models too."
        ),
    ] = None,
    host: Host = "127.0.0.1",
    port: Port = 7860,
    limit: Limit = None,
    open: Annotated[bool, Option("--open", help="Open the page in the default browser.")] = False,
) -> None:
    """Open a page on which pictures are painted. It needs the extra `demo`.

    Example: quantart demo --open
    """
    from quantart.pages.demo import open_demo
    from quantart.project import project_if_any
    from quantart.serving.requests import parse_limits

    limits = parse_limits(limit or [])
    project = project_if_any()
    if project:
        use_store()
    open_demo(project, model or [], host=host, port=port, limits=limits, browser=open)


@app.command(rich_help_panel=USE)
def ui(host: Host = "127.0.0.1", port: Port = 5000) -> None:
    """Open the MLflow UI on this project's runs.

    Example: quantart ui
    """
    from quantart.tracking.ui import show_ui

    use_store()
    show_ui(host, port)


@app.command(rich_help_panel=USE)
def sync() -> None:
    """Deliver what was logged while the tracking server was down. The exit code is 1 if anything is left.

    Example: quantart sync
    """
    from quantart.tracking.delivery import sync as work

    if not work(current_project().root):
        raise Exit(1)


@app.command(rich_help_panel=USE)
def summary() -> None:
    """Show what the pipeline has made and where to find it.

    Example: quantart summary
    """
    from quantart.pipeline.summary import print_summary

    print_summary(current_project())
