"""Reads the tensors of a PyTorch Lightning checkpoint without running anything that is pickled in it.

Besides `state_dict`, Lightning (1.0.8 at the time of the reference) pickled the states of callbacks under their
classes, best scores as NumPy scalars, and hyperparameters as OmegaConf or AttributeDict objects.
`torch.load(weights_only=True)` refuses such names. For those that are known and harmless it gets inert stand-ins, which
accept anything and do nothing, so that their code is never imported; every other name is refused.
"""

from __future__ import annotations

import pickletools
import re
import zipfile
from collections import OrderedDict, deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import IO, Any

import torch
from torch import Tensor

from quantart.errors import UserError
from quantart.models.pretrained import some

ZIP_MAGIC = b"PK\x03\x04"
NESTED = 4  # dicts in dicts that are searched for tensors
LEGACY_PICKLES = 5  # magic number, protocol, machine, the object, keys of its storages
_TYPES = ("bool", "bytes", "complex", "dict", "float", "frozenset", "int", "list", "object", "set", "str", "tuple")
# a builtin type alone is a mark of OmegaConf's typed nodes
_INERT = {f"builtins.{name}" for name in _TYPES} | {
    "argparse.Namespace",
    "numpy.core.multiarray._reconstruct",
    "numpy.core.multiarray.scalar",
    "numpy._core.multiarray._reconstruct",
    "numpy._core.multiarray.scalar",
    "numpy.dtype",
    "numpy.ndarray",
    "pathlib.PosixPath",
    "pathlib.WindowsPath",
    "typing.Any",
}
_INERT_PACKAGES = ("omegaconf.", "pytorch_lightning.callbacks.", "lightning.pytorch.callbacks.")
_INERT_MAPPINGS = {"collections.defaultdict", "pytorch_lightning.utilities.parsing.AttributeDict"}
# torch.load itself decides about these
_LEFT_TO_TORCH = ("torch.", "collections.OrderedDict", "collections.Counter", "_codecs.encode")


class _Inert:
    """Stands in for an object whose content nobody reads."""

    def __new__(cls, *_: Any) -> _Inert:
        return super().__new__(cls)

    def __setstate__(self, state: Any) -> None:
        pass


class _InertMapping:
    """Stands in for a subclass of dict, which the unpickler would not fill."""

    def __new__(cls, *_: Any) -> Any:
        return OrderedDict()


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint under their dotted paths in it, or those of a bare state dict; on the CPU.

    Raises:
        UserError: the file is missing, truncated or no checkpoint, or holds objects other than the known harmless ones.
    """
    try:
        with path.open("rb") as file:
            zipped = file.read(len(ZIP_MAGIC)) == ZIP_MAGIC
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}", "give a checkpoint file") from None
    names = _pickled_names(path, zipped)
    if refused := sorted(name for name in names if not _is_inert(name) and not name.startswith(_LEFT_TO_TORCH)):
        raise _refusal(path, ", ".join(refused))
    stand_ins = [(_InertMapping if name in _INERT_MAPPINGS else _Inert, name) for name in names if _is_inert(name)]
    try:
        with torch.serialization.safe_globals(stand_ins):  # type: ignore[arg-type]  # its stub lacks the pairs
            # mapped, so that the optimiser states, two thirds of a checkpoint, are never read
            loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except Exception as error:  # damaged bytes surface as almost any exception of the unpickler
        found = re.search(r"GLOBAL (\S+)", str(error)) if isinstance(error, UnpicklingError) else None
        if found:
            raise _refusal(path, found[1]) from None
        told = str(error).rpartition("WeightsUnpickler error: ")[2] or type(error).__name__
        reason = " ".join(told.split()).partition(". ")[0]
        raise UserError(f"{path}: not a whole checkpoint, it is truncated or of another kind ({reason})") from None
    return _state_dict(loaded, path)


def _state_dict(loaded: Any, path: Path) -> dict[str, Tensor]:
    state = loaded.get("state_dict", loaded) if isinstance(loaded, dict) else None
    if not isinstance(state, dict) or not state:
        raise UserError(f"{path}: holds no state_dict", "give a checkpoint of the reference's trainer")
    if nameless := [repr(key) for key in state if not isinstance(key, str)]:
        raise UserError(f"{path}: the keys of its state_dict must be names; these are not: {some(nameless)}")
    if "state_dict" in loaded and (strange := [key for key, value in state.items() if not isinstance(value, Tensor)]):
        raise UserError(f"{path}: its state_dict holds more than tensors: {some(strange)}")
    tensors = dict(_tensors(loaded))
    if thin := [key for key, value in tensors.items() if not _is_plain(value)]:
        raise UserError(f"{path}: its tensors must be dense and in memory; these are not: {some(thin)}")
    return tensors


def _tensors(tree: Mapping[Any, Any], above: str = "", depth: int = 0) -> Iterator[tuple[str, Tensor]]:
    """Tensors of nested dicts under dotted keys, such as `state_dict.encoder.conv_in.weight`."""
    for key, value in tree.items():
        if isinstance(value, Tensor):
            yield f"{above}{key}", value
        elif isinstance(value, dict) and depth < NESTED:  # a dict may hold itself
            yield from _tensors(value, f"{above}{key}.", depth + 1)


def _is_plain(value: Tensor) -> bool:
    return value.layout is torch.strided and not (value.is_nested or value.is_quantized or value.is_meta)


def _refusal(path: Path, names: str) -> UserError:
    fault = f"{path}: refused, because opening it with pickle would run {names}"
    return UserError(fault, "give a checkpoint that holds only tensors and the trainer's own records")


def _is_inert(name: str) -> bool:
    return name in _INERT or name in _INERT_MAPPINGS or name.startswith(_INERT_PACKAGES)


def _pickled_names(path: Path, zipped: bool) -> set[str]:
    """`module.name` of every global that the pickles in the file would import; nothing is unpickled."""
    names: set[str] = set()
    texts: deque[str] = deque(maxlen=2)
    try:
        for pickle in _pickles(path, zipped):
            for opcode, argument, _ in pickletools.genops(pickle):
                if opcode.name in {"GLOBAL", "INST"}:
                    # protocol 2 calls the module by its Python 2 name
                    names.add(str(argument).replace(" ", ".", 1).replace("__builtin__.", "builtins.", 1))
                elif opcode.name == "STACK_GLOBAL":
                    names.add(".".join(texts))
                elif isinstance(argument, str):
                    texts.append(argument)
    except (ValueError, OSError, zipfile.BadZipFile):
        pass  # torch.load says what is wrong with a damaged file
    return names


def _pickles(path: Path, zipped: bool) -> Iterator[IO[bytes]]:
    if zipped:
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                if name.endswith("data.pkl"):
                    with archive.open(name) as file:
                        yield file
    else:
        with path.open("rb") as file:
            for _ in range(LEGACY_PICKLES):
                yield file
