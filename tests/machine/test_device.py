"""Which device everything runs on."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import torch

from quantart.errors import UserError
from quantart.machine.device import (
    autocast,
    chosen_device,
    configured,
    default_config_file,
    default_device,
    default_precision,
    precision,
    surely_cpu,
)


@pytest.fixture(autouse=True)
def _a_gpu_and_no_configuration(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("ACCELERATE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)


def test_a_gpu_is_used_if_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert default_device().type == "cuda"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert default_device().type == "cpu"


@pytest.mark.parametrize(
    ("asked", "device"), [("1", "cpu"), ("True", "cpu"), ("yes", "cpu"), ("on", "cpu"), ("0", "cuda"), ("", "cuda")]
)
def test_the_environment_may_ask_for_the_cpu(asked: str, device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_USE_CPU", asked)
    assert default_device().type == device


def test_accelerates_file_may_ask_for_the_cpu_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "accelerate").mkdir()
    (tmp_path / "accelerate" / "default_config.yaml").write_text("use_cpu: true\n")
    assert default_device().type == "cpu"
    monkeypatch.setenv("ACCELERATE_USE_CPU", "false")
    assert default_device().type == "cuda"


def test_a_file_that_is_no_configuration_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "list.yaml"
    path.write_text("- 1\n")
    monkeypatch.setenv("ACCELERATE_CONFIG_FILE", str(path))
    with pytest.raises(UserError) as error:
        configured("use_cpu")
    assert str(path) in error.value.fault
    assert "accelerate config" in error.value.remedy


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


def test_a_user_without_a_home_has_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_HOME", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 2**31 - 7)  # as in a container that does not know its user
    assert configured("num_processes") is None


@pytest.mark.parametrize(("visible", "missing"), [("7", "7"), ("0,3", "3"), (" GPU-5f , 1", "1")])
def test_a_missing_gpu_is_named_and_not_replaced_by_the_cpu(
    visible: str, missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # CUDA counts up to the first that is not there
    monkeypatch.setattr(torch.cuda, "device_count", lambda: visible.split(",").index(visible.split(",")[-1]))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    with pytest.raises(UserError) as error:
        default_device()
    assert f"CUDA_VISIBLE_DEVICES={visible}" in error.value.fault
    assert f"GPU {missing}" in error.value.fault
    monkeypatch.setenv("ACCELERATE_USE_CPU", "1")
    assert default_device().type == "cpu"


@pytest.mark.parametrize(("visible", "count"), [("", 0), ("-1", 0), ("1,0", 2), ("0,-1,7", 1), ("0,", 1)])
def test_visible_and_deliberately_hidden_gpus_are_no_error(
    visible: str, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert default_device().type == ("cuda" if count else "cpu")


def test_a_device_by_name_exists_or_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert chosen_device("cuda:1") == torch.device("cuda:1")
    for name in ("cuda:2", "cuda:-1", "tpu", ""):
        with pytest.raises(UserError) as error:
            chosen_device(name)
        assert repr(name) in error.value.fault
        assert "cpu, cuda, cuda:0, cuda:1" in error.value.remedy


@pytest.mark.parametrize(("asked", "half"), [("bf16", True), ("no", False), ("", None)])
def test_networks_run_in_the_precision_of_training(
    asked: str, half: bool | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", asked)
    half = default_precision(cpu=True) == "bf16" if half is None else half
    with autocast(torch.device("cpu"))():
        product = torch.ones(2, 2) @ torch.ones(2, 2)
    assert (product.dtype == torch.bfloat16) == half


@pytest.mark.parametrize(
    ("written", "meant"),
    [("no", "no"), ("off", "no"), ("false", "no"), ("'no'", "no"), ("No", "no"), ("bf16", "bf16"), ("'BF16'", "bf16")],
)
def test_precision_needs_no_quotes_in_accelerates_file(
    written: str, meant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "accelerate.yaml"
    path.write_text(f"mixed_precision: {written}\n")
    monkeypatch.setenv("ACCELERATE_CONFIG_FILE", str(path))
    assert precision(cpu=True) == meant


@pytest.mark.parametrize("written", ["fp16", "yes", "8"])
def test_another_precision_is_named(written: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "accelerate.yaml"
    path.write_text(f"mixed_precision: {written}\n")
    monkeypatch.setenv("ACCELERATE_CONFIG_FILE", str(path))
    with pytest.raises(UserError) as error:
        precision(cpu=True)
    assert repr(written) in error.value.fault


def test_a_cpu_is_sure_where_no_gpu_has_a_driver_or_none_may_be_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    driver = tmp_path / "nvidiactl"
    monkeypatch.setattr("quantart.machine.device._GPU_DRIVERS", (driver,))
    assert surely_cpu()
    driver.touch()
    assert not surely_cpu()
    for visible, sure in (("", True), ("-1", True), ("0", False), ("1,-1", False)):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        assert surely_cpu() == sure
    monkeypatch.setenv("ACCELERATE_USE_CPU", "yes")
    assert surely_cpu()


def test_without_torch_it_is_the_cpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("quantart.machine.device._GPU_DRIVERS", (tmp_path,))
    assert not surely_cpu()
    monkeypatch.setitem(sys.modules, "torch", None)  # as where it is not installed
    assert surely_cpu()
