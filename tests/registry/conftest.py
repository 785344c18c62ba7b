from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import pytest

from quantart.project import Project

from .versions import add_version, own_store, values


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    with own_store(tmp_path_factory.mktemp("project")) as project:
        yield project


@pytest.fixture
def name(project: Project) -> str:
    """A registered model with an evaluated version and one that is not."""
    name = uuid4().hex
    add_version(name, values())
    add_version(name)
    return name
