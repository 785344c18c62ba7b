"""Checkpoints of a training run: all or nothing, checked when read, resumed to the same weights.

A checkpoint is a folder `step-00000500/` with `state.safetensors` (model, discriminator, both optimisers, averaged
weights, means not yet logged) and `state.json` (step, sha256 of the tensors, number of processes). It is written to a
temporary folder and renamed. The folder is no output of the pipeline's stage, so the pipeline neither deletes nor
caches it; the fingerprint of parameters and data in `run.json` says whether it belongs to the run at hand.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from quantart.components.distributed import world_size
from quantart.errors import UserError
from quantart.training.means import Means

KEEP = 2


@dataclass(frozen=True)
class TrainingState:
    """What a checkpoint holds."""

    step: nn.Module
    optimizers: Mapping[Any, torch.optim.Optimizer]
    averaged: nn.Module | None
    means: Means

    def tensors(self) -> dict[str, Tensor]:
        state = {f"step/{key}": value for key, value in self.step.state_dict().items()}
        if self.averaged is not None:
            state |= {f"averaged/{key}": value for key, value in self.averaged.state_dict().items()}
        for name, optimizer in self.optimizers.items():
            for index, slots in optimizer.state_dict()["state"].items():
                state |= {f"optimizer/{name}/{index}/{slot}": value for slot, value in slots.items()}
        state |= {f"means/{key}": value for key, value in self.means.tensors().items()}
        return {key: value.detach().cpu().contiguous() for key, value in state.items()}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        self.step.load_state_dict(_under("step/", tensors))
        if self.averaged is not None:
            self.averaged.load_state_dict(_under("averaged/", tensors))
        for name, optimizer in self.optimizers.items():
            slots: dict[int, dict[str, Tensor]] = {}
            for key, value in _under(f"optimizer/{name}/", tensors).items():
                index, slot = key.split("/")
                slots.setdefault(int(index), {})[slot] = value
            groups = optimizer.state_dict()["param_groups"]
            optimizer.load_state_dict({"state": slots, "param_groups": groups})
        self.means.load(_under("means/", tensors))


def fingerprint(**parts: Any) -> str:
    """A short hash of everything that decides what a run computes (JSON-serialisable values)."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


class Checkpoints:
    """The checkpoints of one stage in `folder`, all of one run.

    Args:
        folder: made when first needed.
        fingerprint: of parameters and data; what another fingerprint left is kept aside, never mixed in.
        say: called with a sentence when something noteworthy is found.
    """

    def __init__(self, folder: Path, fingerprint: str, say: Any = print) -> None:
        self.folder = folder
        self.fingerprint = fingerprint
        self._say = say

    def prepare(self) -> None:
        """Keep aside what another run left here."""
        owner = self._read_json(self.folder / "run.json").get("fingerprint")
        if self.folder.exists() and owner != self.fingerprint:
            aside = self.folder.with_name(f"{self.folder.name}.before-{self.fingerprint}")
            shutil.rmtree(aside, ignore_errors=True)
            self.folder.rename(aside)
            self._say(f"parameters or data changed since the checkpoint: starting afresh (the old one is in {aside})")
        self.folder.mkdir(parents=True, exist_ok=True)
        if owner != self.fingerprint:
            self._write_json(self.folder / "run.json", {"fingerprint": self.fingerprint})

    @property
    def run_id(self) -> str | None:
        """Id of the tracked run these checkpoints belong to."""
        return self._read_json(self.folder / "run.json").get("run_id")

    @run_id.setter
    def run_id(self, value: str) -> None:
        self._write_json(self.folder / "run.json", {"fingerprint": self.fingerprint, "run_id": value})

    def last_step(self) -> int:
        """Step of the newest checkpoint, 0 with none."""
        found = self._found()
        return int(found[0].name.removeprefix("step-")) if found else 0

    def restore(self, state: TrainingState) -> int:
        """Load the newest whole checkpoint into `state` and return its step, 0 with none at all.

        Raises:
            UserError: there are checkpoints, but all are damaged.
        """
        found = self._found()
        for folder in found:
            meta = self._read_json(folder / "state.json")
            path = folder / "state.safetensors"
            if not path.is_file() or _sha256(path) != meta.get("sha256"):
                self._say(f"checkpoint {folder} is damaged (its checksum differs): trying the one before it")
                continue
            try:
                state.load(load_file(path))
            except (RuntimeError, KeyError, ValueError) as error:
                reason = str(error).splitlines()[0]
                raise UserError(
                    f"checkpoint {folder} does not fit this version's network ({reason}); remove {self.folder} "
                    "to start afresh"
                ) from None
            self._say(f"resuming after step {meta['step']} from {folder}")
            if (before := meta.get("processes", world_size())) != world_size():
                self._say(
                    f"processes: {before} until now, {world_size()} from here on; sums are rounded in another order "
                    "and dropout differs, so what follows is no longer bit-identical to an uninterrupted run"
                )
            return int(meta["step"])
        if found:
            raise UserError(f"every checkpoint in {self.folder} is damaged; remove that folder to start afresh")
        return 0

    def save(self, state: TrainingState, step: int) -> None:
        """Write the checkpoint of `step`, then drop all but the newest ones."""
        final = self.folder / f"step-{step:08d}"
        temporary = self.folder / f"writing-{step:08d}"
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        try:
            save_file(state.tensors(), temporary / "state.safetensors")
            self._write_json(
                temporary / "state.json",
                {"step": step, "sha256": _sha256(temporary / "state.safetensors"), "processes": world_size()},
            )
        except OSError as error:
            shutil.rmtree(temporary, ignore_errors=True)
            raise UserError(
                f"checkpoint of step {step} could not be written to {self.folder} ({error.strerror or error}); "
                "the one before it is whole: make room, then run again"
            ) from error
        shutil.rmtree(final, ignore_errors=True)
        temporary.rename(final)
        for old in self._found()[KEEP:]:
            shutil.rmtree(old)

    def clear(self) -> None:
        """Drop everything: the run is complete and its outputs are written."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _found(self) -> list[Path]:
        return sorted(self.folder.glob("step-*"), reverse=True)

    @staticmethod
    def _read_json(path: Path) -> dict[str, Any]:
        try:
            return dict(json.loads(path.read_text(encoding="utf8")))
        except (OSError, ValueError):
            return {}

    @staticmethod
    def _write_json(path: Path, value: Mapping[str, Any]) -> None:
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps(value), encoding="utf8")
        temporary.replace(path)


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
