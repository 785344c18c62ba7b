"""Checkpoints of a training run: written whole or not at all, checked when read, resumed to the same weights.

A checkpoint is a folder `step-00000500/` with `state.safetensors` (model, discriminator, both optimisers, averaged
weights, means not yet logged) and `state.json` (step, sha256 of the tensors, number of processes). The checkpoints are
no output of the DVC stage, so DVC neither deletes nor caches them; the fingerprint of parameters and data in `run.json`
says whether they belong to the current run.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save_file
from torch import Tensor, nn

from quantart.components.distributed import from_first, rank, world_size
from quantart.errors import UserError
from quantart.machine.disk import writing
from quantart.machine.whole import remove, whole_folder, write_whole
from quantart.models.folder import file_sha256
from quantart.training.means import Means

log = logging.getLogger(__name__)

KEEP = 2
TENSORS, META = "state.safetensors", "state.json"


@dataclass(frozen=True)
class TrainingState:
    """Everything of a training that changes from step to step."""

    objective: nn.Module
    optimizers: Mapping[Any, torch.optim.Optimizer]
    averaged: nn.Module | None
    means: Means

    @property
    def device(self) -> torch.device:
        return next(self.objective.parameters()).device

    def tensors(self) -> dict[str, Tensor]:
        # the key's beginning is older than the name `objective`; checkpoints written before can be resumed
        state = {f"step/{key}": value for key, value in self.objective.state_dict().items()}
        if self.averaged is not None:
            state |= {f"averaged/{key}": value for key, value in self.averaged.state_dict().items()}
        for name, optimizer in self.optimizers.items():
            for index, slots in optimizer.state_dict()["state"].items():
                state |= {f"optimizer/{name}/{index}/{slot}": value for slot, value in slots.items()}
        state |= {f"means/{key}": value for key, value in self.means.tensors().items()}
        return {key: value.detach().cpu().contiguous() for key, value in state.items()}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        self.objective.load_state_dict(_under("step/", tensors))
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
    """The checkpoints of one stage in `folder`, all of one run; those of another `fingerprint` are kept aside."""

    def __init__(self, folder: Path, fingerprint: str) -> None:
        self.folder = folder
        self.fingerprint = fingerprint
        self._run = folder / "run.json"
        self._damaged: list[Path] = []

    def prepare(self) -> None:
        """Move aside what another run left here, and remove what a killed run left half written."""
        for half in self.folder.glob(".step-*"):
            remove(half)
        owner = _read_json(self._run).get("fingerprint")
        if self.last_step() and owner != self.fingerprint:
            aside = self.folder.with_name(f"{self.folder.name}.before-{self.fingerprint}")
            remove(aside)
            self.folder.rename(aside)
            why = "parameters or data changed since the checkpoint"
            if owner is None:
                why = "the checkpoint's run.json is damaged, so its parameters and data are unknown"
            log.warning(f"{why}: starting afresh (the old checkpoints are in {aside})")
        self.folder.mkdir(parents=True, exist_ok=True)
        if owner != self.fingerprint:
            write_whole(self._run, json.dumps({"fingerprint": self.fingerprint}).encode())

    @property
    def run_id(self) -> str | None:
        """Id of the tracked run these checkpoints belong to."""
        return _read_json(self._run).get("run_id")

    @run_id.setter
    def run_id(self, value: str) -> None:
        write_whole(self._run, json.dumps({"fingerprint": self.fingerprint, "run_id": value}).encode())

    @property
    def begun(self) -> int:
        """Step of the newest checkpoint that belongs to this run; 0 without one."""
        return self.last_step() if _read_json(self._run).get("fingerprint") == self.fingerprint else 0

    def last_step(self) -> int:
        """Step of the newest checkpoint that is not known to be damaged; 0 without one."""
        return max((_step_of(folder) for folder in self._found() if folder not in self._damaged), default=0)

    def restore(self, state: TrainingState) -> int:
        """Load the newest undamaged checkpoint into `state` and return its step; 0 where there is none at all.

        The first process reads it and sends it to the others, which may have no such folder. UserError where all are
        damaged, or the newest undamaged one does not fit the network.
        """
        folder = self._newest() if rank() == 0 else None
        data = b"" if folder is None else (folder / TENSORS).read_bytes()
        step, data = _from_first(0 if folder is None else _step_of(folder), data, state.device)
        if data:
            try:
                state.load(load(data))
            except (RuntimeError, KeyError, ValueError) as error:
                fault = f"checkpoint {self._place(step)} does not fit this version's network"
                raise UserError(
                    f"{fault} ({str(error).splitlines()[0]})", f"remove {self.folder} to start afresh"
                ) from None
        return step

    def _newest(self) -> Path | None:
        """The newest undamaged checkpoint; None where there is none at all."""
        found = self._found()
        for folder in found:
            if reason := _damage(folder):
                log.warning(f"checkpoint {folder} is damaged ({reason}): trying the one before it")
                self._damaged.append(folder)
                continue
            log.info(f"resuming after step {_step_of(folder)} from {folder}")
            if (before := _read_json(folder / META).get("processes", world_size())) != world_size():
                resumed = f"{world_size()} processes resume what {before} began"
                log.warning(f"{resumed}: the result is not bit-identical to an uninterrupted run")
            return folder
        if found:
            raise UserError(f"every checkpoint in {self.folder} is damaged", "remove that folder to start afresh")
        return None

    def save(self, state: TrainingState, step: int) -> None:
        """Write the checkpoint of `step`, then remove all but the newest ones.

        UserError where the state is not finite or can't be written; earlier checkpoints stay intact.
        """
        tensors = state.tensors()
        if bad := [name for name, value in tensors.items() if not value.isfinite().all()]:
            fault = f"training stopped at step {step}: not finite, though the losses were: {', '.join(bad[:4])}"
            raise UserError(fault, self.advice())
        size = sum(value.nbytes for value in tensors.values())
        with (
            writing(f"the checkpoint of step {step}", size, self.folder, self.advice),
            whole_folder(self._place(step)) as folder,
        ):
            save_file(tensors, folder / TENSORS)
            meta = {"step": step, "sha256": file_sha256(folder / TENSORS), "processes": world_size()}
            (folder / META).write_text(json.dumps(meta), encoding="utf8")
        self._damaged = [folder for folder in self._damaged if _step_of(folder) != step]
        while self._damaged:
            remove(self._damaged.pop())
        for old in self._found()[KEEP:]:
            remove(old)

    def advice(self) -> str:
        """What running again resumes from, as the remedy of an error; only the first process's checkpoints count."""
        if rank():
            return "run the same command again to resume after the last checkpoint of process 0"
        if step := self.last_step():
            return f"run the same command again to resume after step {step}, whose checkpoint is intact"
        return "run the same command again; it starts at the beginning, since there is no checkpoint yet"

    def clear(self) -> None:
        """Remove everything once the run's outputs are written; a kill leaves no half of it in `folder`."""
        done = self.folder.with_name(f"{self.folder.name}.done")
        remove(done)
        if self.folder.exists():
            self.folder.rename(done)
            remove(done)

    def _place(self, step: int) -> Path:
        return self.folder / f"step-{step:08d}"

    def _found(self) -> list[Path]:
        return sorted(self.folder.glob("step-*"), reverse=True)


def _damage(folder: Path) -> str | None:
    meta = _read_json(folder / META)
    if meta.get("step") != _step_of(folder) or "sha256" not in meta:
        return f"{META} can't be read"
    try:
        return None if file_sha256(folder / TENSORS) == meta["sha256"] else "its checksum differs"
    except OSError as error:
        return f"{TENSORS}: {error.strerror or error}"


def _read_json(path: Path) -> dict[str, Any]:
    """The object in a file; empty where there is no such file or it is damaged."""
    try:
        value = json.loads(path.read_text(encoding="utf8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _from_first(step: int, data: bytes, device: torch.device) -> tuple[int, bytes]:
    """The first process's step and bytes, on every process."""
    if world_size() == 1:
        return step, data
    step, size = from_first(torch.tensor([step, len(data)], device=device)).tolist()
    sent = torch.frombuffer(bytearray(data), dtype=torch.uint8) if data else torch.empty(size, dtype=torch.uint8)
    return step, from_first(sent.to(device)).cpu().numpy().tobytes()


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}


def _step_of(folder: Path) -> int:
    return int(folder.name.removeprefix("step-"))
