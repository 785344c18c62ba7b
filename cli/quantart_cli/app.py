"""The command line. Heavy imports stay inside the commands, so that `--help` is quick."""

from __future__ import annotations

import logging
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from quantart import __version__
from quantart_cli import pipeline, registry, set_up, use

ORDER = (
    *("init", "doctor", "preset", "code", "prepare", "pair", "train", "encode", "evaluate", "export"),
    *("compare", "vote", "import-checkpoint", "stylize", "demo", "serve", "registry", "ui", "sync", "summary"),
)
"""The commands in the order in which one meets them."""
ANYWHERE = {"-q", "--quiet", "-v", "--verbose"}


class Root(TyperGroup):
    """Lists the commands in `ORDER`, and takes `--quiet` and `--verbose` after a command too."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(ORDER)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        end = args.index("--") if "--" in args else len(args)
        moved = [word for word in args[:end] if word in ANYWHERE]
        return super().parse_args(ctx, moved + [word for word in args[:end] if word not in ANYWHERE] + args[end:])


app = typer.Typer(
    cls=Root,
    help="QuantArt: turn photographs into paintings through two learned codebooks.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
for commands in (set_up, pipeline, use, registry):
    app.add_typer(commands.app)


class _StandardError(logging.Handler):
    """Writes to what `sys.stderr` is at that moment: a progress bar takes its place while it is shown."""

    def emit(self, record: logging.LogRecord) -> None:
        kind = f"{record.levelname.lower()}: " if record.levelno >= logging.WARNING else ""
        print(kind + record.getMessage(), file=sys.stderr, flush=True)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"quantart {__version__}")
        raise typer.Exit


@app.callback()
def root(
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print warnings and errors only.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Print details too.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    logger = logging.getLogger("quantart")
    logger.handlers = [_StandardError()]
    logger.setLevel(logging.WARNING if quiet else logging.DEBUG if verbose else logging.INFO)
