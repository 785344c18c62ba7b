"""Commands that set a project up: init, doctor, preset."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument, Exit, Option, Typer

from quantart_cli.options import SET_UP, current_project

PresetName = Annotated[str, Argument(help="One of `quantart preset list`.")]

app = Typer()
preset_app = Typer(no_args_is_help=True)
PRESET = "Fill params.yaml for a task of the paper, or for your own pictures."
app.add_typer(preset_app, name="preset", rich_help_panel=SET_UP, help=PRESET)


@app.command(rich_help_panel=SET_UP)
def init(
    folder: Annotated[Path, Argument(help="New folder, or one that is no project yet.")],
    content: Annotated[
        Path | None, Option(help="Your photographs, which stay where they are. Default: an empty folder data/photos.")
    ] = None,
    style: Annotated[Path | None, Option(help="Your paintings, likewise. Default: data/paintings.")] = None,
) -> None:
    """Make a project for your own pictures, with git and DVC. No existing file is changed.

    Example: quantart init mine --content my/photos --style my/paintings
    """
    from quantart.new_project import start_project

    print(start_project(folder, content, style))


@app.command(rich_help_panel=SET_UP)
def doctor() -> None:
    """Check whether this machine and this project can run the pipeline. Report each problem and how to fix it.

    Nothing is created or changed. The exit code is 1 if the default pipeline can't run.

    Example: quantart doctor
    """
    from rich.console import Console

    from quantart.doctor import State, examine, print_findings
    from quantart.project import project_if_any

    project = project_if_any()
    findings = examine(project.root if project else None)
    print_findings(findings, Console())
    if any(finding.state is State.fails for finding in findings.values()):
        raise Exit(1)


@preset_app.command("list")
def list_presets() -> None:
    """List the presets.

    Example: quantart preset list
    """
    from rich.console import Console

    from quantart.presets import preset_table

    Console().print(preset_table(current_project()))


@preset_app.command("show")
def show_preset(name: PresetName) -> None:
    """Print the params.yaml that a preset would write, with the changes marked.

    Example: quantart preset show coco2art
    """
    from quantart.presets import show_preset

    print(show_preset(current_project(), name), end="")


@preset_app.command("use")
def use_preset(name: PresetName) -> None:
    """Write params.yaml from a preset, keep the old file beside it, and report what changed.

    The preset sets data, model, stage1, encode and stage2. Your seed, evaluate and export stay, except for keys that
    the preset sets.

    Example: quantart preset use custom_unpaired
    """
    from quantart.presets import use_preset

    print(use_preset(current_project(), name))
