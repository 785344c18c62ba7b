"""Finds the golden folder and hands every test the cases whose names fit its `golden` mark."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from safetensors import safe_open
from torch import Tensor

ROOT = Path(__file__).parents[2]


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
        """What the reference computed, by full name; a state that `state_after/` leaves out must stay as it was."""
        computed = {name: t for name, t in self.tensors.items() if name.startswith(("out/", "grad/", "log/"))}
        if after := self.group("state_after"):
            computed |= prefixed("state_after/", self.group("state") | after)
        return computed

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


def golden_folder(config: pytest.Config) -> Path | None:
    """`--golden`, else $QUANTART_GOLDEN, else ../shared/golden; None where there is none.

    A folder that was asked for by name must hold cases.
    """
    named = config.getoption("--golden") or os.environ.get("QUANTART_GOLDEN")
    folder = Path(named) if named else ROOT.parent / "shared" / "golden"
    if any(folder.glob("*.safetensors")):
        return folder
    if named:
        raise pytest.UsageError(f"golden folder {named}: holds no *.safetensors; it must be a folder of golden cases")
    return None


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "golden(pattern): run for each golden file whose name fits the pattern")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    mark = metafunc.definition.get_closest_marker("golden")
    if mark is None:
        return
    folder = golden_folder(metafunc.config)
    files = sorted(folder.glob(f"{mark.args[0]}.safetensors")) if folder else []
    if files:
        metafunc.parametrize("case", files, indirect=True, ids=[f.stem for f in files])
    else:
        reason = "no golden folder; give one with --golden DIR" if folder is None else f"{folder} has no such case"
        metafunc.parametrize("case", [pytest.param(None, marks=pytest.mark.skip(reason))], indirect=True)


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
    folder = golden_folder(request.config)
    if folder is None:
        pytest.skip("no golden folder; give one with --golden DIR")
    return folder
