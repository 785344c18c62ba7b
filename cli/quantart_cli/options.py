"""What several commands share: the project they work on, options, and the panels of `--help`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

from typer import Option
from typer.core import TyperCommand

if TYPE_CHECKING:
    from quantart.project import Project

SET_UP = "Set up"
PIPELINE = "Pipeline (what dvc.yaml calls, in order)"
USE = "Use"

Alpha = Annotated[
    float | None,
    Option(help="Visual fidelity, from 1 (discrete) to 0 (continuous). Default: what the model was trained for."),
]
Beta = Annotated[float, Option(help="Style fidelity, from 1 (style) to 0 (content).")]
Port = Annotated[int, Option(min=0, max=65535)]
Host = Annotated[str, Option(help="Address to listen on. The default is reachable from this machine only.")]


class SeveralStyles(TyperCommand):
    """`CONTENT… --style A B`: all words up to the next option belong to `--style`, so that a shell's `*.jpg` works.

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


def current_project() -> Project:
    from quantart.project import find_project

    return find_project()


def use_store() -> Project:
    """The current project, with MLflow pointed at its tracking store."""
    from quantart.tracking.store import configure

    project = current_project()
    configure(project.root)
    return project


def in_processes() -> None:
    """Start this command in several processes where Accelerate's configuration asks for them, and exit as they do.

    It returns in a process that is to do the work itself.
    """
    from quantart.training.launch import launch_if_wanted

    launch_if_wanted("quantart_cli", sys.argv[1:])
