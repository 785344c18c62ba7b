"""Forward passes and gradients of every part equal the reference's."""

from __future__ import annotations

import re
from functools import partial
from typing import TypeVar

import pytest
import torch
from torch import Tensor, nn

from quantart.components.autoencoder import Decoder, Encoder
from quantart.components.discriminator import NLayerDiscriminator
from quantart.components.quantizer import VectorQuantizer
from quantart.components.style_transfer import StyleTransferModule
from quantart.models.fidelity import FidelityControl

from .builders import reference_logs, stage_1, stage_2, stage_2_loss
from .conftest import Case, prefixed
from .replay import assert_replayed

Tensors = dict[str, Tensor]
Network = TypeVar("Network", bound=nn.Module)

assert_one_pass = partial(assert_replayed, tolerance=1e-5)


@pytest.mark.golden("quantizer_*")
def test_quantizer(case: Case) -> None:
    def replay(case: Case) -> Tensors:
        quantizer = _loaded(VectorQuantizer(**case.config), case)
        z = case["in/z"].clone().requires_grad_()
        quantized = quantizer(z)
        scalar = (quantized.z_q * case["in/w"]).sum() + 3.0 * quantized.loss
        grad_z, grad_embedding = torch.autograd.grad(scalar, [z, quantizer.embedding.weight])
        return {
            "out/z_q": quantized.z_q,
            "out/loss": quantized.loss,
            "out/indices": quantized.indices,
            "grad/z": grad_z,
            "grad/embedding": grad_embedding,
        }

    assert_one_pass(replay, case)


@torch.no_grad()
@pytest.mark.golden("encoder*")
def test_encoder(case: Case) -> None:
    assert_one_pass(lambda case: {"out/z": _loaded(Encoder(**case.config), case)(case["in/x"])}, case)


@torch.no_grad()
@pytest.mark.golden("decoder*")
def test_decoder(case: Case) -> None:
    assert_one_pass(lambda case: {"out/x": _loaded(Decoder(**case.config), case)(case["in/z"])}, case)


@torch.no_grad()
@pytest.mark.golden("style_transfer_*")
def test_style_transfer(case: Case) -> None:
    def replay(case: Case) -> Tensors:
        network = _loaded(StyleTransferModule(**case.config), case)
        content = case["in/content"]
        return {"out/y": network(content, case["in/style"]), "out/y_selfonly": network(content, None)}

    assert_one_pass(replay, case)


@torch.no_grad()
@pytest.mark.golden("discriminator_*")
def test_discriminator(case: Case) -> None:
    def replay(case: Case) -> Tensors:
        discriminator = _loaded(NLayerDiscriminator(**case.config), case)
        train = discriminator.train()(case["in/x"])
        return {
            "out/train": train,
            "out/eval_after_one_train_pass": discriminator.eval()(case["in/x"]),
            **prefixed("state_after/", discriminator.state_dict()),
        }

    assert_one_pass(replay, case)


@torch.no_grad()
@pytest.mark.golden("stage1_forward*")
def test_stage_1_forward(case: Case) -> None:
    def replay(case: Case) -> Tensors:
        reconstruction, quantized = stage_1(case.config, case.group("state")).eval()(case["in/x"])
        return {
            "out/indices": quantized.indices.flatten(),
            "out/quant": quantized.z_q,
            "out/codebook_loss": quantized.loss,
            "out/reconstruction": reconstruction,
        }

    assert_one_pass(replay, case)


@torch.no_grad()
@pytest.mark.golden("stage2_transfer*")
def test_stage_2_transfer(case: Case) -> None:
    def replay(case: Case) -> Tensors:
        model = stage_2(case.config, case.group("state")).eval()
        content, style = model.content_latents(case["in/content"]), model.style_latents(case["in/style"])
        output = model.transfer(content, style)
        assert output.indices is not None
        return {
            "out/quant_x": content,
            "out/quant_ref": style,
            "out/indices_ref": model.quantize_dec.nearest(style),
            "out/h_x": output.unquantised,
            "out/indices_y": output.indices,
            "out/quant_y": output.z,
            "out/codebook_loss": output.loss,
            "out/image": model(case["in/content"], case["in/style"]),
        }

    assert_one_pass(replay, case)


@torch.no_grad()
@pytest.mark.golden("stage2_continuous_transfer*")
def test_stage_2_continuous_transfer(case: Case) -> None:
    def replay(case: Case) -> Tensors:
        model = stage_2(case.config, case.group("state")).eval()
        content, style = model.content_latents(case["in/content"]), model.style_latents(case["in/style"])
        return {
            "out/z_x": content,
            "out/z_ref": style,
            "out/z_y": model.transfer(content, style).z,
            "out/image": model(case["in/content"], case["in/style"]),
        }

    assert_one_pass(replay, case)


@pytest.mark.golden("stage2_loss*")
def test_stage_2_loss(case: Case) -> None:
    def replay(case: Case) -> Tensors:
        loss = stage_2_loss(case.config["lossconfig"], case.group("state"), "discriminator.")
        step = int(case["in/global_step"])
        output, style = case["in/quant_y"].clone().requires_grad_(), case["in/quant_ref"]
        total, logs = loss.generator(
            output, case["in/quant_x"], style, case["in/codebook_loss"], step, adversarial=True
        )
        (gradient,) = torch.autograd.grad(total, output)
        disc_loss, disc_logs = loss.discriminator_loss(style, output, step)
        return {
            "grad/quant_y": gradient,
            "out/total": total,
            # the reference logs, as `aeloss`, the total without the adversary
            "out/aeloss": total - logs["adversarial_weight"] * logs["adversarial_loss"],
            "out/discloss": disc_loss,
            **prefixed("out/", reference_logs(logs | disc_logs, case.config["lossconfig"])),
        }

    assert_one_pass(replay, case)


@torch.no_grad()
@pytest.mark.golden("fidelity_control*")
def test_fidelity_control(case: Case) -> None:
    settings = [m for name in case.tensors if (m := re.fullmatch(r"out/z_(a([\d.]+)_b([\d.]+))", name))]
    assert settings

    def replay(case: Case) -> Tensors:
        states = case.group("state_discrete"), case.group("state_continuous")
        control = FidelityControl(*(stage_2(case.config, state).eval() for state in states))
        outputs = {}
        for setting in settings:
            name, fidelity = setting[1], control.fidelity(float(setting[2]), float(setting[3]))
            z = control.latents(case["in/content"], case["in/style"], fidelity)
            outputs[f"out/z_{name}"] = z
            outputs[f"out/image_{name}"] = control.decode(z, fidelity)
        return outputs

    assert_one_pass(replay, case)


def _loaded(network: Network, case: Case) -> Network:
    network.load_state_dict(case.group("state"))
    return network.eval()
