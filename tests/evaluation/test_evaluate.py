from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from quantart.data.pictures import PackedPictures
from quantart.evaluation import methods, metrics
from quantart.evaluation.estimates import rows_of
from quantart.evaluation.evaluate import EvaluationResult, evaluate_reconstruction, evaluate_transfer
from quantart.evaluation.latents import latent_content, latent_style
from quantart.evaluation.observed import PairRenderer, Perception
from quantart.evaluation.set_distances import frechet_distance
from quantart.evaluation.task import ReconstructionTask, TransferTask
from quantart.evaluation.texture import structure_distance, texture_distance, texture_of
from quantart.images.arrays import pixels_to_float, to_arrays
from quantart.losses.colour import to_lab
from quantart.models.stage_1 import ExperimentStage1
from quantart.models.stage_2 import ExperimentStage2
from quantart.vocabulary.methods import BASELINES, MODEL
from quantart.vocabulary.names import Domain

LPIPS_NAME, GRAM, FD = "perceptual_squeezenet1_1", "gram_squeezenet1_1", "fd_squeezenet1_1"
TEXTURE, STRUCTURE = "texture_squeezenet1_1", "structure_squeezenet1_1"
COMPOSITE = "composite_squeezenet1_1_squeezenet1_1"
Evaluate = Callable[..., EvaluationResult]


@pytest.fixture
def evaluate(model: ExperimentStage2, task: TransferTask, perception: Perception) -> Evaluate:
    def call(**changes: Any) -> EvaluationResult:
        render = PairRenderer(model, task, perception, **{"batch_size": 4, **changes})
        return evaluate_transfer(render, samples=3)

    return call


def rows(evaluation: EvaluationResult, method: str) -> pd.DataFrame:
    return rows_of(evaluation.table, method)


def test_every_method_is_measured_on_every_pair(
    evaluate: Evaluate, model: ExperimentStage2, task: TransferTask
) -> None:
    evaluation = evaluate()
    assert list(evaluation.table["method"].unique()) == [MODEL, *BASELINES]
    for method in (MODEL, *BASELINES):
        part = rows(evaluation, method)
        assert part["pair"].tolist() == list(range(10))
        assert part["content"].tolist() == [task.contents.files[content] for content, _ in task.pairs]
        assert part["style"].tolist() == [task.styles.files[style] for _, style in task.pairs]
        assert evaluation.features[method].shape == (10, 512)
    assert np.isfinite(evaluation.table.select_dtypes("number")).all(axis=None)
    scores = evaluation.summary
    assert evaluation.n == 10
    assert ("usage" in scores[MODEL]) == (model.variant == "discrete")
    assert evaluation.digest == task.digest


def test_a_copy_is_at_distance_zero_from_its_original(evaluate: Evaluate) -> None:
    evaluation = evaluate()
    content, style = rows(evaluation, "copied_content"), rows(evaluation, "copied_style")
    assert content[[STRUCTURE, LPIPS_NAME, "latent_content", "cfsd_squeezenet1_1"]].max(axis=None) == 0
    assert style[[TEXTURE, GRAM, "meanstd_squeezenet1_1", "colour_rgb", "latent_style"]].max(axis=None) == 0
    assert content[[TEXTURE, GRAM]].min(axis=None) > 0.01
    assert style[LPIPS_NAME].min() > 0.1
    scores = evaluation.summary
    assert scores["copied_style"][FD].value == pytest.approx(0.0, abs=1e-3)
    assert scores["copied_content"][FD].value > 1.0


def test_composites_are_products_of_one_plus_each_distance(evaluate: Evaluate) -> None:
    evaluation = evaluate()
    for scores in evaluation.summary.values():
        composite = (1 + scores[LPIPS_NAME].value) * (1 + scores[FD].value)
        assert scores[COMPOSITE].value == pytest.approx(composite)
        assert scores[COMPOSITE].low <= composite <= scores[COMPOSITE].high


@pytest.mark.parametrize("variant", ["discrete"], indirect=True)
def test_a_pair_measured_alone_by_hand_gives_the_same_numbers(
    evaluate: Evaluate, model: ExperimentStage2, task: TransferTask, perception: Perception
) -> None:
    evaluation = evaluate()
    photographs = pixels_to_float(task.contents.centre([content for content, _ in task.pairs], 32))
    paintings = pixels_to_float(task.styles.centre([style for _, style in task.pairs], 32))
    lpips = perception.lpips
    with torch.inference_mode():
        z_c, z_s = model.content_latents(photographs), model.style_latents(paintings)
        transferred = model.transfer(z_c, z_s)
        output = model.decode(transferred.z).clamp(-1, 1)
        variance = z_s.transpose(0, 1).flatten(1).var(1, correction=0).mean()
        place = lpips.structure
        expected = {
            LPIPS_NAME: lpips(output, photographs),
            "cfsd_squeezenet1_1": metrics.cfsd(lpips.features(output)[place], lpips.features(photographs)[place]),
            TEXTURE: texture_distance(*(texture_of(lpips, pictures) for pictures in (output, paintings))),
            STRUCTURE: structure_distance(*(texture_of(lpips, pictures) for pictures in (output, photographs))),
            "latent_content": latent_content(transferred.z, z_c) / variance,
            "latent_style": latent_style(transferred.z, z_s) / variance,
            "colour_rgb": metrics.colour_distance(
                metrics.colour_statistics(output), metrics.colour_statistics(paintings)
            ),
        }
        others = {
            "adain": methods.adain(model, z_c, z_s),
            "style_vqgan": methods.style_vqgan(model, photographs),
            "content_decoded": methods.content_decoded(model, z_c),
            "colour_matched": methods.colour_matched(model, photographs, paintings),
        }
        for baseline, rendering in others.items():
            distances = lpips(rendering.pictures, photographs)
            np.testing.assert_allclose(rows(evaluation, baseline)[LPIPS_NAME], distances, rtol=1e-3, err_msg=baseline)
        distance, _ = frechet_distance(perception.pool(output), perception.pool(paintings))
    measured = rows(evaluation, MODEL)
    for name, values in expected.items():
        np.testing.assert_allclose(measured[name], values, rtol=1e-3, atol=1e-7, err_msg=name)
    assert transferred.indices is not None
    scores = evaluation.summary[MODEL]
    assert scores["usage"].value == len(transferred.indices.unique()) / 16
    assert scores[FD].value == pytest.approx(distance, rel=1e-3)
    for sample, picture in zip(evaluation.samples.values(), to_arrays(output[:3]), strict=True):
        # rounding to 255 steps may fall the other way
        assert np.abs(sample[MODEL].astype(int) - picture.astype(int)).max() <= 1


@pytest.mark.parametrize("variant", ["discrete"], indirect=True)
def test_the_batch_size_changes_nothing(evaluate: Evaluate) -> None:
    one, all_at_once = (evaluate(batch_size=size) for size in (1, 16))
    pd.testing.assert_frame_equal(one.table, all_at_once.table, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("variant", ["discrete"], indirect=True)
def test_samples_are_the_first_pairs_with_their_own_pictures(evaluate: Evaluate, task: TransferTask) -> None:
    samples = evaluate().samples
    assert list(samples) == [0, 1, 2]
    for sample, (content, style) in zip(samples.values(), task.pairs[:3], strict=True):
        assert sample.keys() == {MODEL, *BASELINES}
        photograph = task.contents.centre([content], 32)[0].permute(1, 2, 0).numpy()
        painting = task.styles.centre([style], 32)[0].permute(1, 2, 0).numpy()
        np.testing.assert_array_equal(sample["copied_content"], photograph)
        np.testing.assert_array_equal(sample["copied_style"], painting)


def test_reconstruction_of_every_picture(
    vqgan: ExperimentStage1, pictures: dict[Domain, PackedPictures], perception: Perception
) -> None:
    contents = pictures["content"]
    task = ReconstructionTask(contents, 32)
    evaluation = evaluate_reconstruction(vqgan, task, perception, batch_size=4)
    targets = pixels_to_float(contents.centre(range(len(contents)), 32))
    with torch.inference_mode():
        outputs, quantized = vqgan(targets)
        outputs = outputs.clamp(-1, 1)
        ssim = metrics.ssim(outputs, targets)
        distance, _ = frechet_distance(perception.pool(outputs), perception.pool(targets))
    errors = ((outputs - targets) ** 2).mean((1, 2, 3)).numpy()
    assert evaluation.table["file"].tolist() == list(contents.files)
    np.testing.assert_allclose(evaluation.table["psnr"], 10 * np.log10(4 / errors), rtol=1e-4)
    np.testing.assert_allclose(evaluation.table["ssim"], ssim, rtol=1e-3)
    colours = (to_lab(outputs) - to_lab(targets)).square().sum(1).sqrt().mean((1, 2))
    np.testing.assert_allclose(evaluation.table["delta_e"], colours, rtol=1e-3)
    score = evaluation.summary[MODEL]
    assert score["psnr"].value == pytest.approx(evaluation.table["psnr"].mean())
    assert evaluation.n == len(contents)
    assert score[FD].value == pytest.approx(distance, rel=1e-3)
    assert score["usage"].value == len(quantized.indices.unique()) / 16
    assert 1 < score["perplexity"].value <= 16
