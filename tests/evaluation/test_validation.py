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
from quantart.models.stage_1 import ExperimentStage1
from quantart.models.stage_2 import ExperimentStage2
from quantart.vocabulary.names import Domain

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
def test_transfers_are_measured_in_units_of_the_scale(model: ExperimentStage2, task: TransferTask) -> None:
    content = model.content_latents(pixels_to_float(task.contents.centre([c for c, _ in task.pairs], 32)))
    style = model.style_latents(pixels_to_float(task.styles.centre([s for _, s in task.pairs], 32)))
    z = model.transfer(content, style).z
    for scale in (1.0, 2.0):
        found, grids = validate_transfers(model, task.contents, task.styles, task.pairs, 32, scale, CPU)
        expected = {
            "latent_content": scale * float(latent_content(z, content).mean()),
            "latent_style": scale * float(latent_style(z, style).mean()),
        }
        assert found == pytest.approx(expected, rel=1e-3)
        assert grids["transfers"].std() > 5
