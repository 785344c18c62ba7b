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
from quantart.machine.disk import writing
from quantart.training.means import Means

KEEP = 2
TENSORS, META = "state.safetensors", "state.json"


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
        self._damaged: list[Path] = []

    def prepare(self) -> None:
        """Keep aside what another run left here, and drop what a kill left half written."""
        for half in self.folder.glob("writing-*"):
            shutil.rmtree(half)
        owner = self._read_json(self.folder / "run.json").get("fingerprint")
        if self.last_step() and owner != self.fingerprint:
            aside = self.folder.with_name(f"{self.folder.name}.before-{self.fingerprint}")
            shutil.rmtree(aside, ignore_errors=True)
            self.folder.rename(aside)
            why = "parameters or data changed since the checkpoint"
            if owner is None:
                why = "what the checkpoint was made with is unknown, since its run.json is damaged"
            self._say(f"{why}: starting afresh (the old one is in {aside})")
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
        """Step of the newest checkpoint that was not found damaged, 0 with none."""
        return max((_step_of(folder) for folder in self._found() if folder not in self._damaged), default=0)

    def restore(self, state: TrainingState) -> int:
        """Load the newest whole checkpoint into `state` and return its step, 0 with none at all.

        Raises:
            UserError: there are checkpoints, but all are damaged.
        """
        found = self._found()
        for folder in found:
            if reason := self._damage(folder):
                self._say(f"checkpoint {folder} is damaged ({reason}): trying the one before it")
                self._damaged.append(folder)
                continue
            try:
                state.load(load_file(folder / TENSORS))
            except (RuntimeError, KeyError, ValueError) as error:
                reason = str(error).splitlines()[0]
                raise UserError(
                    f"checkpoint {folder} does not fit this version's network ({reason}); remove {self.folder} "
                    "to start afresh"
                ) from None
            step = _step_of(folder)
            self._say(f"resuming after step {step} from {folder}")
            if (before := self._read_json(folder / META).get("processes", world_size())) != world_size():
                self._say(
                    f"processes: {before} until now, {world_size()} from here on; sums are rounded in another order "
                    "and dropout differs, so what follows is no longer bit-identical to an uninterrupted run"
                )
            return step
        if found:
            raise UserError(f"every checkpoint in {self.folder} is damaged; remove that folder to start afresh")
        return 0

    def save(self, state: TrainingState, step: int) -> None:
        """Write the checkpoint of `step`, then drop all but the newest ones.

        Raises:
            UserError: the state is not finite, so that nothing could go on from it; or the disk is full. The
                checkpoints before it are whole.
        """
        tensors = state.tensors()
        if bad := [name for name, value in tensors.items() if not value.isfinite().all()]:
            raise UserError(
                f"training stopped at step {step}: not finite, though the losses were: {', '.join(bad[:4])}. "
                f"{self.advice()}"
            )
        final = self.folder / f"step-{step:08d}"
        temporary = self.folder / f"writing-{step:08d}"
        shutil.rmtree(temporary, ignore_errors=True)
        size = sum(value.nbytes for value in tensors.values())
        with writing(f"the checkpoint of step {step}", size, self.folder, self.advice):
            try:
                temporary.mkdir(parents=True)
                save_file(tensors, temporary / TENSORS)
                meta = {"step": step, "sha256": _sha256(temporary / TENSORS), "processes": world_size()}
                self._write_json(temporary / META, meta)
            except BaseException:
                shutil.rmtree(temporary, ignore_errors=True)  # a full disk needs the room
                raise
        while self._damaged:  # perhaps of this very step
            shutil.rmtree(self._damaged.pop())
        temporary.rename(final)
        for old in self._found()[KEEP:]:
            shutil.rmtree(old)

    def advice(self) -> str:
        """What running again would go on from."""
        if step := self.last_step():
            return f"The checkpoint of step {step} is whole: run the same command again to go on from there"
        return "No checkpoint was written yet: the same command starts at the beginning"

    def clear(self) -> None:
        """Drop everything at once, even if killed: the run is complete and its outputs are written."""
        done = self.folder.with_name(f"{self.folder.name}.done")
        shutil.rmtree(done, ignore_errors=True)
        if self.folder.exists():
            self.folder.rename(done)
            shutil.rmtree(done)

    def _damage(self, folder: Path) -> str | None:
        """What is wrong with a checkpoint; None where it is whole."""
        meta = self._read_json(folder / META)
        if meta.get("step") != _step_of(folder) or "sha256" not in meta:
            return f"{META} can't be read"
        try:
            return None if _sha256(folder / TENSORS) == meta["sha256"] else "its checksum differs"
        except OSError as error:
            return f"{TENSORS}: {error.strerror or error}"

    def _found(self) -> list[Path]:
        return sorted(self.folder.glob("step-*"), reverse=True)

    @staticmethod
    def _read_json(path: Path) -> dict[str, Any]:
        try:
            value = json.loads(path.read_text(encoding="utf8"))
        except (OSError, ValueError):
            return {}
        return value if isinstance(value, dict) else {}

    @staticmethod
    def _write_json(path: Path, value: Mapping[str, Any]) -> None:
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps(value), encoding="utf8")
        temporary.replace(path)


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}


def _step_of(folder: Path) -> int:
    return int(folder.name.removeprefix("step-"))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
