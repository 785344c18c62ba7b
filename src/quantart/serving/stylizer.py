"""Two pictures of any size in, one stylised picture out."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from quantart.images import ImageError, Picture, crop_to_aspect, resize_short_side, to_arrays, to_tensor
from quantart.models.fidelity import FidelityControl
from quantart.models.stage_2 import ExperimentStage2

MIN_SIDE = 32  # pixels
MAX_ASPECT = 8.0  # long over short side; attention over a longer picture would need too much memory
STYLE_ASPECT = 2.0  # longer style pictures are cropped at both ends, as in training


class Stylizer:
    """Trained stage-2 networks as a function of pictures; it runs on the device they are on."""

    def __init__(self, model: ExperimentStage2 | FidelityControl) -> None:
        self._model = (model if isinstance(model, FidelityControl) else FidelityControl.of(model)).eval()
        shape = self._model.ddconfig
        self._side = int(shape["resolution"])
        self._multiple = 2 ** (len(shape["ch_mult"]) - 1)

    @torch.inference_mode()
    def stylize(self, content: Picture, style: Picture, alpha: float | None = None, beta: float = 1.0) -> Picture:
        """Paint `content` in the manner of `style`; both uint8 `(h, w, 3)`, of different sizes or not.

        Args:
            alpha, beta: visual and style fidelity, see `FidelityControl`.

        Returns:
            uint8 `(h, w, 3)` with the content's aspect; its short side is the model's resolution.

        Raises:
            ImageError: a picture is too small or too long.
            UserError: `alpha` or `beta` is not in [0, 1], or the networks can't do that alpha.
        """
        _check(content, "content")
        _check(style, "style")
        content = resize_short_side(content, self._side)
        style = resize_short_side(crop_to_aspect(style, STYLE_ASPECT), self._side)
        painted = to_arrays(self._model(self._padded(content), self._padded(style), alpha, beta))[0]
        return painted[: content.shape[0], : content.shape[1]]

    def _padded(self, picture: Picture) -> Tensor:
        """`(1, 3, h, w)` in [-1, 1], mirrored on the right and below up to the network's multiple."""
        height, width = picture.shape[:2]
        below, right = -height % self._multiple, -width % self._multiple
        device = next(self._model.parameters()).device
        return F.pad(to_tensor(picture).to(device), (0, right, 0, below), mode="reflect")


def _check(picture: Picture, name: str) -> None:
    height, width = picture.shape[:2]
    if min(height, width) < MIN_SIDE:
        raise ImageError(f"{name}: {width} × {height} pixels; each side must have at least {MIN_SIDE}")
    if max(height, width) > MAX_ASPECT * min(height, width):
        raise ImageError(f"{name}: {width} × {height} pixels; one side may be at most {MAX_ASPECT:g} times the other")
