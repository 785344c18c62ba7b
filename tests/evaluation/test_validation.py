import pytest
import torch

from quantart.data.pictures import PackedPictures
from quantart.evaluation.latents import latent_content, latent_style
from quantart.evaluation.metrics import delta_e, psnr
from quantart.evaluation.stage1_validation import validate_reconstructions
from quantart.evaluation.stage2_validation import validate_transfers
from quantart.evaluation.task import TransferTask
from quantart.images.arrays import pixels_to_float
from quantart.losses.lpips import LPIPS
from quantart.losses.painting import PaintingLoss
from quantart.models.stage_1 import ExperimentStage1
from quantart.models.stage_2 import ExperimentStage2
from quantart.vocabulary.names import Domain
from quantart.vocabulary.painting import PAINTING_WEIGHTS

CPU = torch.device("cpu")


@torch.inference_mode()
def test_reconstructions_are_measured_with_and_without_the_codebook(
    vqgan: ExperimentStage1, pictures: dict[Domain, PackedPictures], lpips: LPIPS
) -> None:
    contents = pictures["content"]
    targets = pixels_to_float(contents.centre(range(len(contents)), 32))
    z = vqgan.latents(targets)
    quantized = vqgan.quantize(z)
    for quantize, latents in ((True, quantized.z_q), (False, z)):
        found, grids = validate_reconstructions(vqgan, [contents], lpips, 32, CPU, quantize=quantize)
        output = vqgan.decode(latents).clamp(-1, 1)
        expected = {
            "psnr": float(psnr(output, targets).mean()),
            "delta_e": float(delta_e(output, targets).mean()),
            "perceptual_squeezenet1_1": float(lpips(output, targets).mean()),
        }
        assert {name: found[name] for name in expected} == pytest.approx(expected, rel=1e-3)
        assert grids["reconstructions"].std() > 5
        if quantize:
            assert found["codebook_usage"] == len(quantized.indices.unique()) / 16
            assert 1 < found["codebook_perplexity"] <= 16
        else:
            assert found.keys() == expected.keys()


@pytest.mark.parametrize("variant", ["discrete"], indirect=True)
@torch.inference_mode()
def test_transfers_are_measured_as_the_objective_sees_them(model: ExperimentStage2, task: TransferTask) -> None:
    photographs = pixels_to_float(task.contents.centre([c for c, _ in task.pairs], 32))
    paintings = pixels_to_float(task.styles.centre([s for _, s in task.pairs], 32))
    content, style = model.content_latents(photographs), model.style_latents(paintings)
    transferred = model.transfer(content, style)
    expected = {
        "latent_content": float(latent_content(transferred.z, content).mean()),
        "latent_style": float(latent_style(transferred.z, style).mean()),
    }
    found, grids = validate_transfers(model, task.contents, task.styles, task.pairs, 32, CPU, loss=None)
    assert found == pytest.approx(expected, rel=1e-3)
    assert grids["transfers"].std() > 5
    loss = PaintingLoss(PAINTING_WEIGHTS, "efficientnet_lite0")  # it takes half of these small pictures too
    for quantize, z in ((True, transferred.z), (False, transferred.unquantised)):
        output = model.decode(z).clamp(-1, 1)
        _, logs = loss(output, loss.scene(photographs), loss.hand(paintings))
        found, _ = validate_transfers(
            model, task.contents, task.styles, task.pairs, 32, CPU, loss=loss, quantize=quantize
        )
        assert found == pytest.approx({name: float(value) for name, value in logs.items()}, rel=1e-3)
