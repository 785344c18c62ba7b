"""CIELAB, a colour space in which distances are close to perceived ones, and a loss on it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from quantart.components.precision import full_precision

# linear sRGB to CIE XYZ (IEC 61966-2-1); the sums of the rows are its white, D65
_XYZ = ((0.4124, 0.3576, 0.1805), (0.2126, 0.7152, 0.0722), (0.0193, 0.1192, 0.9505))
# f(X), f(Y), f(Z) to L* + 16, a*, b* (CIE 15)
_LAB = ((0.0, 116.0, 0.0), (500.0, -500.0, 0.0), (0.0, 200.0, -200.0))
_KNEE = 6 / 29  # below its cube, CIELAB has a straight line in place of the cube root
WHITE_TO_BLACK = 100.0  # in L*


def colour_loss(x: Tensor, y: Tensor, side: int = 4) -> Tensor:
    """Mean ΔE (CIE 1976) of squares of `side` × `side` pixels, in units of the distance from black to white; 0-d.

    Taking means leaves texture to other losses. Pictures are `(b, 3, h, w)` sRGB in [-1, 1]. Values outside are not
    clamped, so that a gradient brings them back.
    """
    apart = to_lab(F.avg_pool2d(full_precision(x), side)) - to_lab(F.avg_pool2d(full_precision(y), side))
    # 1e-6 keeps the gradient of the root finite where both are equal
    return (apart.square().sum(1) + 1e-6).sqrt().mean() / WHITE_TO_BLACK


def to_lab(pictures: Tensor) -> Tensor:
    """sRGB `(b, 3, h, w)` in [-1, 1] to CIELAB (D65), in float32: L* in [0, 100], a* and b* about [-110, 110]."""
    pictures = full_precision(pictures)
    with torch.autocast(pictures.device.type, enabled=False):  # the error of bfloat16 would be visible
        encoded = (pictures + 1) / 2
        curved = ((encoded.clamp_min(0.0) + 0.055) / 1.055) ** 2.4
        linear = torch.where(encoded <= 0.04045, encoded / 12.92, curved)
        xyz = _mix(_matrix(_XYZ), linear) / _white(pictures)
        # clamped to where the root is used, because its gradient is infinite at 0
        f = torch.where(xyz > _KNEE**3, xyz.clamp_min(_KNEE**3) ** (1 / 3), xyz / (3 * _KNEE**2) + 4 / 29)
        return _mix(_matrix(_LAB), f) - _black(pictures)


def from_lab(lab: Tensor) -> Tensor:
    """The reverse of `to_lab`, clamped to [-1, 1]."""
    f = _mix(torch.linalg.inv(_matrix(_LAB)), lab + _black(lab))
    xyz = torch.where(f > _KNEE, f**3, 3 * _KNEE**2 * (f - 4 / 29)) * _white(lab)
    linear = _mix(torch.linalg.inv(_matrix(_XYZ)), xyz)
    curved = 1.055 * linear.clamp_min(0.0) ** (1 / 2.4) - 0.055
    encoded = torch.where(linear <= 0.0031308, linear * 12.92, curved)
    return (2 * encoded - 1).clamp(-1, 1)


def _matrix(rows: tuple[tuple[float, ...], ...]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64)


def _mix(matrix: Tensor, channels: Tensor) -> Tensor:
    return torch.einsum("ij,bjhw->bihw", matrix.to(channels), channels)


def _white(like: Tensor) -> Tensor:
    return _matrix(_XYZ).sum(1).to(like).view(3, 1, 1)


def _black(like: Tensor) -> Tensor:
    """What `_LAB` makes of f = 4 / 29, which is black."""
    return torch.tensor([16.0, 0.0, 0.0]).to(like).view(3, 1, 1)
