"""`runs/export.json`: which version in the model registry this project made, an ordinary output of the pipeline."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from quantart.errors import UserError
from quantart.project import Project

CHALLENGER = "challenger"


@dataclass(frozen=True)
class RegisteredModel:
    """A version in the model registry."""

    name: str
    version: str
    alias: str
    """It was given when the version was made; a later version may have it by now."""
    run_id: str

    @property
    def uri(self) -> str:
        """Address of this very version."""
        return f"models:/{self.name}/{self.version}"


def write_registered(project: Project, registered: RegisteredModel) -> None:
    project.link("export").write_text(json.dumps(asdict(registered), indent=2) + "\n", encoding="utf8")


def read_registered(project: Project) -> RegisteredModel | None:
    """The version that the project's last export made; None before the first one.

    Raises:
        UserError: the file is not one that `write_registered` wrote.
    """
    path = project.link("export")
    if not path.is_file():
        return None
    try:
        return RegisteredModel(**json.loads(path.read_text(encoding="utf8")))
    except (ValueError, TypeError) as error:
        raise UserError(f"{path}: not the record of an export ({error}); `quantart export` writes it anew") from None


def default_address(project: Project) -> str:
    """What is served where nothing is named: the version in `runs/export.json`, or else the alias `challenger`.

    DVC brings that file back with the rest of an older state, but can't move the alias.
    """
    registered = read_registered(project)
    return registered.uri if registered else f"models:/{project.params().export.name}@{CHALLENGER}"
