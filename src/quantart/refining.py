"""Optimising the latents of one pair, from the network's answer on: as good as codes and decoder can paint.

Each picture gets what the network is trained for (`PaintingLoss`, with its weights): the painting's texture and
colours, the photograph's forms. It is the optimisation of Gatys et al. (CVPR 2016), of latents instead of pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor

from quantart.losses.painting import PaintingLoss
from quantart.machine.device import autocast
from quantart.models.stage_2 import ExperimentStage2
from quantart.vocabulary.painting import PAINTING_WEIGHTS

STEP = 0.1  # of an update, in units of the latents' deviation


def refine(
    model: ExperimentStage2,
    start: Tensor,
    content: Tensor,
    style: Tensor,
    steps: int,
    go_on: Callable[[], bool] = lambda: True,
) -> Tensor:
    """The best latents on the way from the network's answer through at most that many updates.

    Args:
        start: `(1, c, h, w)`, the network's output before quantisation (`Transferred.unquantised`).
        content, style: pictures `(1, 3, h, w)` in [-1, 1], at least 64 wide.
        go_on: asked before each update; where it says no, the best so far is the answer.

    Returns:
        `(1, c, h, w)`, what the decoder takes: codes of the style codebook if the network is discrete.
    """
    with torch.inference_mode(False), torch.enable_grad():
        loss = _loss(start.device, tuple((PAINTING_WEIGHTS | model.config["painting_weights"]).items()))
        with torch.no_grad():
            scene, hand = loss.scene(content.clone()), loss.hand(style.clone())
        start = start.clone()
        unit = start.std((0, 2, 3), keepdim=True)
        moved = torch.zeros_like(start, requires_grad=True)
        optimizer = torch.optim.Adam([moved], STEP, betas=(0.9, 0.99))
        half = autocast(start.device)
        best, least = start, float("inf")
        for step in range(steps + 1):
            h = model.projected(start + moved * unit)
            coded = _coded(model, h)
            with half():
                total, _ = loss(model.decode(h + (coded - h).detach()), scene, hand)
            if step == 0 or total.item() < least:
                best, least = coded.detach(), total.item()
            if step == steps or not go_on():
                break
            (moved.grad,) = torch.autograd.grad(total, moved)
            optimizer.step()
    return best


@torch.no_grad()
def _coded(model: ExperimentStage2, h: Tensor) -> Tensor:
    return model.quantize_dec.lookup(model.quantize_dec.nearest(h)) if model.variant == "discrete" else h


@lru_cache(maxsize=2)
def _loss(device: torch.device, weights: tuple[tuple[str, float], ...]) -> PaintingLoss:
    return PaintingLoss(dict(weights)).to(device)
