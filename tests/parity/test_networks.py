"""Forward passes and gradients of every part equal the reference's."""

from __future__ import annotations

import re

import pytest
import torch

from quantart.components.autoencoder import Decoder, Encoder
from quantart.components.discriminator import NLayerDiscriminator
from quantart.components.quantizer import VectorQuantizer
from quantart.components.style_transfer import StyleTransferModule
from quantart.models.fidelity import mix_decode, mix_latents

from .builders import assert_near, assert_state_near, stage_1, stage_2, stage_2_loss
from .conftest import Case

ONE_PASS = 1e-5


@pytest.mark.golden("quantizer_*")
def test_quantizer(case: Case) -> None:
    quantizer = VectorQuantizer(**case.config)
    quantizer.load_state_dict(case.group("state"))
    z = case["in/z"].requires_grad_()
    quantized = quantizer(z)
    ((quantized.z_q * case["in/w"]).sum() + 3.0 * quantized.loss).backward()
    assert_near(quantized.indices, case["out/indices"], 0.0, "indices")
    assert_near(quantized.z_q, case["out/z_q"], ONE_PASS, "z_q")
    assert_near(quantized.loss, case["out/loss"], ONE_PASS, "loss")
    assert_near(z.grad, case["grad/z"], ONE_PASS, "grad of z")
    assert_near(quantizer.embedding.weight.grad, case["grad/embedding"], ONE_PASS, "grad of embedding")


@torch.no_grad()
@pytest.mark.golden("encoder*")
def test_encoder(case: Case) -> None:
    encoder = Encoder(**case.config)
    encoder.load_state_dict(case.group("state"))
    assert_near(encoder(case["in/x"]), case["out/z"], ONE_PASS, "z")


@torch.no_grad()
@pytest.mark.golden("decoder*")
def test_decoder(case: Case) -> None:
    decoder = Decoder(**case.config)
    decoder.load_state_dict(case.group("state"))
    assert_near(decoder(case["in/z"]), case["out/x"], ONE_PASS, "x")


@torch.no_grad()
@pytest.mark.golden("style_transfer_*")
def test_style_transfer(case: Case) -> None:
    network = StyleTransferModule(**case.config)
    network.load_state_dict(case.group("state"))
    content, style = case["in/content"], case["in/style"]
    assert_near(network(content, style), case["out/y"], ONE_PASS, "y")
    assert_near(network(content, None), case["out/y_selfonly"], ONE_PASS, "y_selfonly")


@torch.no_grad()
@pytest.mark.golden("discriminator_*")
def test_discriminator(case: Case) -> None:
    discriminator = NLayerDiscriminator(**case.config)
    discriminator.load_state_dict(case.group("state"))
    assert_near(discriminator.train()(case["in/x"]), case["out/train"], ONE_PASS, "train")
    assert_state_near(discriminator, case.group("state_after"), ONE_PASS)
    assert_near(discriminator.eval()(case["in/x"]), case["out/eval_after_one_train_pass"], ONE_PASS, "eval")


@torch.no_grad()
@pytest.mark.golden("stage1_forward*")
def test_stage_1_forward(case: Case) -> None:
    model = stage_1(case.config, case.group("state")).eval()
    reconstruction, quantized = model(case["in/x"])
    assert_near(quantized.indices.flatten(), case["out/indices"], 0.0, "indices")
    assert_near(quantized.z_q, case["out/quant"], ONE_PASS, "quant")
    assert_near(quantized.loss, case["out/codebook_loss"], ONE_PASS, "codebook_loss")
    assert_near(reconstruction, case["out/reconstruction"], ONE_PASS, "reconstruction")


@torch.no_grad()
@pytest.mark.golden("stage2_transfer*")
def test_stage_2_transfer(case: Case) -> None:
    model = stage_2(case.config, case.group("state")).eval()
    content, style = model.content_latents(case["in/content"]), model.style_latents(case["in/style"])
    output = model.transfer(content, style)
    assert_near(content, case["out/quant_x"], ONE_PASS, "quant_x")
    assert_near(style, case["out/quant_ref"], ONE_PASS, "quant_ref")
    assert_near(model.quantize_dec.nearest(style), case["out/indices_ref"], 0.0, "indices_ref")
    assert_near(output.h, case["out/h_x"], ONE_PASS, "h_x")
    assert_near(output.indices, case["out/indices_y"], 0.0, "indices_y")
    assert_near(output.z, case["out/quant_y"], ONE_PASS, "quant_y")
    assert_near(output.loss, case["out/codebook_loss"], ONE_PASS, "codebook_loss")
    assert_near(model(case["in/content"], case["in/style"]), case["out/image"], ONE_PASS, "image")


@torch.no_grad()
@pytest.mark.golden("stage2_continuous_transfer*")
def test_stage_2_continuous_transfer(case: Case) -> None:
    model = stage_2(case.config, case.group("state")).eval()
    content, style = model.content_latents(case["in/content"]), model.style_latents(case["in/style"])
    assert_near(content, case["out/z_x"], ONE_PASS, "z_x")
    assert_near(style, case["out/z_ref"], ONE_PASS, "z_ref")
    assert_near(model.transfer(content, style).z, case["out/z_y"], ONE_PASS, "z_y")
    assert_near(model(case["in/content"], case["in/style"]), case["out/image"], ONE_PASS, "image")


@pytest.mark.golden("stage2_loss*")
def test_stage_2_loss(case: Case) -> None:
    loss = stage_2_loss(case.config["lossconfig"], case.group("state"), "discriminator.")
    step = int(case["in/global_step"])
    output = case["in/quant_y"].requires_grad_()
    total, logs = loss.generator(
        output, case["in/quant_x"], case["in/quant_ref"], case["in/codebook_loss"], step, adversarial=True
    )
    (gradient,) = torch.autograd.grad(total, output)
    disc_loss, disc_logs = loss.discriminator_loss(case["in/quant_ref"], output, step)
    assert_near(gradient, case["grad/quant_y"], ONE_PASS, "grad of quant_y")
    assert_near(total, case["out/total"], ONE_PASS, "total")
    assert_near(disc_loss, case["out/discloss"], ONE_PASS, "discloss")
    # the reference logs, as `aeloss`, the total without the adversary
    adversarial = logs["d_weight"] * logs["disc_factor"] * logs["g_loss"]
    assert_near(total - adversarial, case["out/aeloss"], ONE_PASS, "aeloss")
    for name, value in (logs | disc_logs).items():
        assert_near(value, case[f"out/{name}"], ONE_PASS, name)


@torch.no_grad()
@pytest.mark.golden("fidelity_control*")
def test_fidelity_control(case: Case) -> None:
    discrete = stage_2(case.config, case.group("state_discrete")).eval()
    continuous = stage_2(case.config, case.group("state_continuous")).eval()
    settings = [m for name in case.tensors if (m := re.fullmatch(r"out/z_(a([\d.]+)_b([\d.]+))", name))]
    assert settings
    for setting in settings:
        name, alpha, beta = setting[1], float(setting[2]), float(setting[3])
        z = mix_latents(discrete, continuous, case["in/content"], case["in/style"], alpha, beta)
        assert_near(z, case[f"out/z_{name}"], ONE_PASS, f"z_{name}")
        assert_near(mix_decode(discrete, continuous, z, alpha), case[f"out/image_{name}"], ONE_PASS, f"image_{name}")
