"""Finds the golden folder and hands every test the cases whose names fit its `golden` mark."""

from __future__ import annotations

import atexit
import json
import os
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from .packed import PACKED, unpack


class Case(NamedTuple):
    """One golden file."""

    config: dict[str, Any]
    tensors: dict[str, Tensor]

    def __getitem__(self, name: str) -> Tensor:  # type: ignore[override]
        return self.tensors[name]

    def group(self, prefix: str) -> dict[str, Tensor]:
        """The tensors under `prefix/`, without it."""
        return {name.removeprefix(f"{prefix}/"): t for name, t in self.tensors.items() if name.startswith(f"{prefix}/")}

    def expected(self) -> dict[str, Tensor]:
        """What the reference computed, by full name.

        A state that `state_after/` does not hold must stay as it was, unless the configuration says it is `left_out`.
        """
        computed = {name: t for name, t in self.tensors.items() if name.startswith(("out/", "grad/", "log/"))}
        if after := self.group("state_after"):
            computed |= prefixed("state_after/", self.group("state") | after)
        return {name: t for name, t in computed.items() if name not in self.config.get("left_out", ())}

    def shaken(self, seed: int) -> Case:
        """The same case with the weights off by about their last bit."""
        generator = torch.Generator().manual_seed(seed)
        noise = 0.5 * torch.finfo(torch.float32).eps
        return self._replace(
            tensors={
                name: t * (1.0 + noise * torch.randn(t.shape, generator=generator)) if _is_weight(name, t) else t
                for name, t in self.tensors.items()
            }
        )


def prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}{name}": tensor for name, tensor in tensors.items()}


def _is_weight(name: str, tensor: Tensor) -> bool:
    group = name.split("/")[0]
    return group.startswith("state") and group != "state_after" and tensor.is_floating_point()


@cache
def golden_folder(named: str | None) -> Path:
    """A folder of cases: the named one, which must hold some, or the repository's own, unpacked."""
    if named is None:
        unpacked = TemporaryDirectory(prefix="golden-")
        atexit.register(unpacked.cleanup)
        unpack(PACKED, Path(unpacked.name))
        return Path(unpacked.name)
    if not any(Path(named).glob("*.safetensors")):
        raise pytest.UsageError(f"golden folder {named}: holds no *.safetensors; it must be a folder of golden cases")
    return Path(named)


def of_options(config: pytest.Config) -> Path:
    """`--golden`, else $QUANTART_GOLDEN, else the repository's."""
    return golden_folder(config.getoption("--golden") or os.environ.get("QUANTART_GOLDEN"))


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "golden(pattern): run for each golden file whose name fits the pattern")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    mark = metafunc.definition.get_closest_marker("golden")
    if mark is None:
        return
    folder = of_options(metafunc.config)
    if files := sorted(folder.glob(f"{mark.args[0]}.safetensors")):
        metafunc.parametrize("case", files, indirect=True, ids=[f.stem for f in files])
    else:
        reason = pytest.mark.skip(f"{folder} has no such case")
        metafunc.parametrize("case", [pytest.param(None, marks=reason)], indirect=True)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """As the golden numbers were made, and much faster for such small tensors."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def read_case(path: Path) -> Case:
    with safe_open(path, "pt") as file:
        return Case(json.loads(file.metadata()["config"]), {name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118


@pytest.fixture
def case(request: pytest.FixtureRequest) -> Case:
    return read_case(request.param)


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Path:
    return of_options(request.config)
