"""Which device everything runs on."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from quantart.device import configured, default_config_file, default_device
from quantart.errors import UserError


@pytest.fixture(autouse=True)
def _a_gpu_and_no_configuration(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("ACCELERATE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)


def test_a_gpu_is_taken_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert default_device().type == "cuda"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert default_device().type == "cpu"


@pytest.mark.parametrize(
    ("asked", "device"), [("1", "cpu"), ("True", "cpu"), ("yes", "cpu"), ("0", "cuda"), ("", "cuda")]
)
def test_the_environment_may_ask_for_the_cpu(asked: str, device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_USE_CPU", asked)
    assert default_device().type == device


def test_accelerates_own_file_may_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "accelerate").mkdir()
    (tmp_path / "accelerate" / "default_config.yaml").write_text("use_cpu: true\n")
    assert default_device().type == "cpu"
    monkeypatch.setenv("ACCELERATE_USE_CPU", "false")
    assert default_device().type == "cuda"


def test_a_file_that_is_no_configuration_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "list.yaml"
    path.write_text("- 1\n")
    monkeypatch.setenv("ACCELERATE_CONFIG_FILE", str(path))
    with pytest.raises(UserError, match=r"list\.yaml: not a configuration of Accelerate"):
        configured("use_cpu")


@pytest.mark.parametrize("variable", ["HF_HOME", "XDG_CACHE_HOME", None])
def test_the_file_is_looked_for_where_accelerate_writes_it(
    variable: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import importlib

    from accelerate.commands.config import config_args

    for name in ("HF_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    if variable:
        monkeypatch.setenv(variable, str(tmp_path / "cache"))
    try:
        importlib.reload(config_args)  # it settles the place when imported
        assert default_config_file() == Path(config_args.default_config_file)
    finally:
        monkeypatch.undo()
        importlib.reload(config_args)
