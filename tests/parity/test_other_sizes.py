"""The replays are not tuned to one folder: cases of other sizes, made by plain loops over the reference's facts."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from quantart.components.discriminator import NLayerDiscriminator
from quantart.models.stage_1 import ExperimentStage1
from quantart.models.stage_2 import ExperimentStage2

from . import test_training
from .builders import DISCRIMINATOR
from .conftest import prefixed, read_case

Logs = dict[str, list[Tensor]]

LEARNING_RATE = 3e-4
DDCONFIG: dict[str, Any] = {
    "double_z": False,
    "z_channels": 5,
    "resolution": 16,
    "in_channels": 3,
    "out_ch": 3,
    "ch": 32,
    "ch_mult": [1, 1],
    "num_res_blocks": 1,
    "attn_resolutions": [16, 8],
    "dropout": 0.0,
}
STAGE_1 = {"disc_start": 1, "disc_ndf": 4, "disc_num_layers": 1, "disc_weight": 0.6, "disc_loss": "vanilla"}
STAGE_2 = {"disc_start": 1, "disc_ndf": 4, "disc_num_layers": 0, "disc_in_channels": 7, "style_weight": 3.0}


def test_other_sizes_pass_and_a_loss_off_by_one_per_cent_fails(tmp_path: Path) -> None:
    torch.manual_seed(0)
    contents, styles = torch.rand(2, 3, 2, 3, 16, 24) * 2.0 - 1.0  # three steps of two pictures
    stage_1, stage_2 = tmp_path / "stage1_train.safetensors", tmp_path / "stage2_train.safetensors"
    write_stage_1(stage_1, contents)
    write_stage_2(stage_2, contents, styles)
    test_training.test_stage_1_trajectory(read_case(stage_1))
    test_training.test_stage_2_trajectory(read_case(stage_2))

    case = read_case(stage_1)
    case.config["lossconfig"]["disc_weight"] *= 1.01
    with pytest.raises(AssertionError, match="log/d_weight: off by"):
        test_training.test_stage_1_trajectory(case)
    case = read_case(stage_2)
    case.config["lossconfig"]["style_weight"] *= 1.01
    with pytest.raises(AssertionError, match="log/total_loss: off by"):
        test_training.test_stage_2_trajectory(case)


def write_stage_1(path: Path, pictures: Tensor) -> None:
    model, judge = ExperimentStage1(DDCONFIG, 9, 7), NLayerDiscriminator(3, 4, 1)
    tensors = prefixed("in/", {"x": pictures}) | start(model, judge)
    generator, discriminator = adam(model), adam(judge)
    logs: Logs = defaultdict(list)
    for step, x in enumerate(pictures):
        factor = float(step >= 1)
        fake, quantized = model(x)
        nll, g_loss = (x - fake).abs().mean(), -judge(fake).mean()
        last = model.decoder.conv_out.weight
        nll_norm, g_norm = (torch.autograd.grad(t, last, retain_graph=True)[0].norm() for t in (nll, g_loss))
        d_weight = 0.6 * (nll_norm / (g_norm + 1e-4)).clamp(0.0, 1e4)
        total = nll + factor * d_weight.detach() * g_loss + quantized.loss
        descend(generator, total)
        real, fake = judge(x), judge(model(x)[0].detach())
        disc_loss = factor * 0.5 * (F.softplus(-real).mean() + F.softplus(fake).mean())
        descend(discriminator, disc_loss)
        add(logs, nll_loss=nll, quant_loss=quantized.loss, d_weight=d_weight, total_loss=total)
        add(logs, disc_loss=disc_loss, logits_fake=fake.mean())
    write(path, {"lossconfig": STAGE_1}, tensors, logs, state(model, judge))


def write_stage_2(path: Path, contents: Tensor, styles: Tensor) -> None:
    model = ExperimentStage2(DDCONFIG, 9, 7, block_num=1, residual=False, use_selfatt=False)
    judge = NLayerDiscriminator(7, 4, 0)
    tensors = prefixed("in/", {"content": contents, "style": styles}) | start(model, judge)
    generator, discriminator = adam(model.model_x2y), adam(judge)
    logs: Logs = defaultdict(list)
    for step, (x, y) in enumerate(zip(contents, styles, strict=True)):
        factor = float(step >= 1)
        content, style = model.content_latents(x).detach(), model.style_latents(y).detach()
        output = model.transfer(content, style)
        means = F.mse_loss(output.z.mean((2, 3)), style.mean((2, 3)))
        deviations = F.mse_loss(*((z.var((2, 3)) + 1e-5).sqrt() for z in (output.z, style)))
        style_loss = means + deviations
        reverse_loss, g_loss = F.mse_loss(output.z, content), -judge(output.z).mean()
        total = reverse_loss + 3.0 * style_loss + output.loss + factor * g_loss
        descend(generator, total)
        real, fake = judge(style), judge(model.transfer(content, style).z.detach())
        disc_loss = factor * 0.5 * (F.relu(1.0 - real).mean() + F.relu(1.0 + fake).mean())
        descend(discriminator, disc_loss)
        add(logs, style_loss=style_loss, reverse_loss=reverse_loss, g_loss=g_loss, total_loss=total)
        add(logs, disc_loss=disc_loss, logits_fake=fake.mean())
    config = {"lossconfig": STAGE_2, "use_residual": False}
    write(path, config, tensors, logs, state(model, judge))


def start(model: nn.Module, judge: nn.Module) -> dict[str, Tensor]:
    """The state of both in train mode, with weights of a size of their own."""
    for parameter in [*model.train().parameters(), *judge.parameters()]:
        nn.init.normal_(parameter, parameter.mean().item(), 0.1)
    return prefixed("state/", {name: tensor.clone() for name, tensor in state(model, judge).items()})


def state(model: nn.Module, judge: nn.Module) -> dict[str, Tensor]:
    return model.state_dict() | prefixed(DISCRIMINATOR, judge.state_dict())


def adam(module: nn.Module) -> torch.optim.Adam:
    return torch.optim.Adam(module.parameters(), LEARNING_RATE, betas=(0.5, 0.9))


def descend(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def add(logs: Logs, **values: Tensor) -> None:
    for name, value in values.items():
        logs[name].append(value.detach().double())


def write(path: Path, config: dict[str, Any], before: dict[str, Tensor], logs: Logs, after: dict[str, Tensor]) -> None:
    config = {"ddconfig": DDCONFIG, "n_embed": 9, "embed_dim": 7, "learning_rate": LEARNING_RATE, **config}
    tensors = before | prefixed("log/", {name: torch.stack(values) for name, values in logs.items()})
    save_file(tensors | prefixed("state_after/", after), path, {"config": json.dumps(config)})
