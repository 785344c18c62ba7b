"""PatchGAN discriminator (Isola et al., CVPR 2017), for pictures in stage 1 and for latents in stage 2."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from quantart.components.distributed import all_rows, joint_mean, world_size
from quantart.components.precision import full_precision


class ActNorm(nn.Module):
    """Scale and shift per channel, learned after the first batch has set them to give mean 0 and deviation 1.

    From Glow (Kingma and Dhariwal, NeurIPS 2018).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.loc = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.scale = nn.Parameter(torch.ones(1, channels, 1, 1))
        self.initialized: Tensor
        self.register_buffer("initialized", torch.tensor(0, dtype=torch.uint8))

    def forward(self, x: Tensor) -> Tensor:
        if self.training and not self.initialized:
            self._initialise(x)
        return self.scale * (x + self.loc)

    @torch.no_grad()
    def _initialise(self, x: Tensor) -> None:
        # over all processes, which would otherwise have different weights
        std, mean = torch.std_mean(full_precision(all_rows(x)), dim=(0, 2, 3), keepdim=True)
        self.loc.copy_(-mean)
        self.scale.copy_(1.0 / (std + 1e-6))
        self.initialized.fill_(1)


class JointBatchNorm2d(nn.BatchNorm2d):
    """BatchNorm over the joint batch of all processes, on CPUs too, unlike torch's SyncBatchNorm.

    Each process must have the same number of pictures.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or world_size() == 1:
            return super().forward(x)
        wide = full_precision(x)
        mean = joint_mean(wide.mean((0, 2, 3)))
        centred = wide - mean[:, None, None]
        var = joint_mean(centred.square().mean((0, 2, 3)))
        self._remember(mean.detach(), var.detach(), world_size() * x.numel() // x.shape[1])
        scale = self.weight * (var + self.eps).rsqrt()
        return (centred * scale[:, None, None] + self.bias[:, None, None]).to(x.dtype)

    def _remember(self, mean: Tensor, var: Tensor, count: int) -> None:
        assert self.running_mean is not None  # noqa: S101 - for mypy: they are there unless switched off
        assert self.running_var is not None  # noqa: S101
        assert self.num_batches_tracked is not None  # noqa: S101
        assert self.momentum is not None  # noqa: S101
        self.num_batches_tracked.add_(1)
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(var * count / (count - 1), self.momentum)


class NLayerDiscriminator(nn.Module):
    """One logit for each of many overlapping patches of `(b, input_nc, h, w)`: `(b, 1, h', w')`, high for real ones.

    Args:
        ndf: channels of the first layer; they double with every layer up to `8 * ndf`.
        n_layers: strided layers (even 0 has one).
        use_actnorm: ActNorm instead of BatchNorm.
    """

    def __init__(self, input_nc: int = 3, ndf: int = 64, n_layers: int = 3, use_actnorm: bool = False) -> None:
        super().__init__()
        norm: type[nn.Module] = ActNorm if use_actnorm else JointBatchNorm2d
        layers: list[nn.Module] = [nn.Conv2d(input_nc, ndf, 4, stride=2, padding=1), nn.LeakyReLU(0.2, inplace=True)]
        width = ndf
        for n in range(1, max(n_layers, 0) + 1):
            previous, width = width, ndf * min(2**n, 8)
            layers += _layer(previous, width, 2 if n < n_layers else 1, norm)
        if n_layers == 0:
            layers += _layer(width, width, 1, norm)
        layers.append(nn.Conv2d(width, 1, 4, padding=1))
        self.main = nn.Sequential(*layers)
        self.apply(_initialise)

    def forward(self, x: Tensor) -> Tensor:
        return self.main(x)


def _layer(in_channels: int, out_channels: int, stride: int, norm: type[nn.Module]) -> list[nn.Module]:
    # BatchNorm's own shift makes the convolution's bias superfluous; the reference keeps it beside ActNorm
    conv = nn.Conv2d(in_channels, out_channels, 4, stride, padding=1, bias=norm is ActNorm)
    return [conv, norm(out_channels), nn.LeakyReLU(0.2, inplace=True)]


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
        nn.init.zeros_(module.bias)
