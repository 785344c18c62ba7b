"""Commands of the registry: its versions, and which of them is the champion."""

from __future__ import annotations

from typing import Annotated

from typer import Argument, Exit, Option, Typer

from quantart_cli.options import USE, current_project, use_store

Name = Annotated[str | None, Option(help="Name of the registered model. Default: export.name of params.yaml.")]
WhichVersion = Annotated[
    str | None,
    Argument(
        metavar="VERSION",
        help="Number, alias or name of its run. Default: the version in runs/export.json, else the alias `challenger`.",
    ),
]

app = Typer(
    name="registry",
    no_args_is_help=True,
    rich_help_panel=USE,
    help="List registered versions and choose the champion.",
)


@app.command("list")
def list_versions(name: Name = None) -> None:
    """List the versions with their aliases and metrics.

    Example: quantart registry list
    """
    from rich.console import Console

    from quantart.registry.tables import print_versions
    from quantart.registry.versions import open_registry

    print_versions(open_registry(use_store(), name), Console())


@app.command("show")
def show_version(version: WhichVersion = None, name: Name = None) -> None:
    """Show where a version comes from, and all its metrics.

    Example: quantart registry show champion
    """
    from rich.console import Console

    from quantart.registry.tables import print_version
    from quantart.registry.versions import chosen_version, open_registry

    project = current_project()
    gates = project.params().promote
    use_store()
    registry = open_registry(project, name)
    print_version(registry, chosen_version(project, registry, version), gates, Console())


@app.command("promote")
def promote_version(version: WhichVersion = None, name: Name = None) -> None:
    """Make a version the champion if it passes the gates in params.yaml. The exit code is 1 if it does not.

    Example: quantart registry promote 3
    """
    from quantart.registry.promotion import promote

    done = promote(use_store(), version, name)
    print(done)
    if done.refused:
        raise Exit(1)


@app.command("rollback")
def rollback_champion(name: Name = None) -> None:
    """Make the previous champion the champion again.

    Example: quantart registry rollback
    """
    from quantart.registry.promotion import rollback

    moved = rollback(use_store(), name)
    print(f"version {moved.version} is champion again; version {moved.before} was until now")
