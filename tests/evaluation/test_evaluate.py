from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from quantart.data.pictures import PackedPictures
from quantart.evaluation import baselines, metrics
from quantart.evaluation.evaluate import Evaluation, evaluate_reconstruction, evaluate_transfer
from quantart.evaluation.pairs import held_out_pairs
from quantart.evaluation.rendering import BASELINES, MODEL
from quantart.evaluation.summary import by_method
from quantart.images import pixels_to_float, to_arrays
from quantart.losses.lpips import LPIPS
from quantart.models.stage_1 import ExperimentStage1
from quantart.models.stage_2 import ExperimentStage2
from quantart.params import Domain

LPIPS_NAME, GRAM, FD = "perceptual_squeezenet1_1", "gram_squeezenet1_1", "fd_squeezenet1_1"
Pictures = dict[Domain, PackedPictures]


def evaluate(model: ExperimentStage2, pictures: Pictures, lpips: LPIPS, **changes: Any) -> Evaluation:
    contents, styles = pictures["content"], pictures["style"]
    pairs = held_out_pairs(len(contents), len(styles), 10, seed=0)
    options = {"lpips": lpips, "side": 32, "batch_size": 4, "samples": 3} | changes
    return evaluate_transfer(model, contents, styles, pairs, **options)


def rows(evaluation: Evaluation, method: str) -> pd.DataFrame:
    return evaluation.table.loc[evaluation.table["method"] == method]


def test_every_method_is_measured_on_every_pair(model: ExperimentStage2, pictures: Pictures, lpips: LPIPS) -> None:
    evaluation = evaluate(model, pictures, lpips)
    pairs = held_out_pairs(len(pictures["content"]), len(pictures["style"]), 10, seed=0)
    assert list(evaluation.table["method"].unique()) == [MODEL, *BASELINES]
    for method in (MODEL, *BASELINES):
        part = rows(evaluation, method)
        assert part["pair"].tolist() == list(range(10))
        assert part["content"].tolist() == [pictures["content"].files[content] for content, _ in pairs]
        assert part["style"].tolist() == [pictures["style"].files[style] for _, style in pairs]
    assert np.isfinite(evaluation.table.select_dtypes("number")).all(axis=None)
    scores = by_method(evaluation.summary)
    assert {score.n for of_method in scores.values() for score in of_method.values()} == {10}
    assert ("usage" in scores[MODEL]) == (model.variant == "discrete")


def test_a_copy_is_at_distance_zero_from_its_original(
    model: ExperimentStage2, pictures: Pictures, lpips: LPIPS
) -> None:
    evaluation = evaluate(model, pictures, lpips)
    content, style = rows(evaluation, "copied_content"), rows(evaluation, "copied_style")
    assert content[LPIPS_NAME].max() == content["latent_content"].max() == 0
    assert style[[GRAM, "meanstd_squeezenet1_1", "colour_rgb", "latent_style"]].max(axis=None) == 0
    assert content[GRAM].min() > 0.01
    assert style[LPIPS_NAME].min() > 0.1
    scores = by_method(evaluation.summary)
    assert scores["copied_style"][FD].value == pytest.approx(0.0, abs=1e-3)
    assert scores["copied_content"][FD].value > 1.0


@pytest.mark.parametrize("variant", ["discrete"], indirect=True)
def test_a_pair_measured_alone_by_hand_gives_the_same_numbers(
    model: ExperimentStage2, pictures: Pictures, lpips: LPIPS
) -> None:
    evaluation = evaluate(model, pictures, lpips)
    pairs = held_out_pairs(len(pictures["content"]), len(pictures["style"]), 10, seed=0)
    sides = [
        pixels_to_float(pictures[domain].centre([pair[i] for pair in pairs], 32))
        for i, domain in enumerate(("content", "style"))
    ]
    with torch.inference_mode():
        z_c, z_s = model.content_latents(sides[0]), model.style_latents(sides[1])
        transferred = model.transfer(z_c, z_s)
        output = model.decode(transferred.z).clamp(-1, 1)
        variance = z_s.transpose(0, 1).flatten(1).var(1, correction=0).mean()
        expected = {
            LPIPS_NAME: lpips(output, sides[0]),
            "latent_content": metrics.latent_content(transferred.z, z_c) / variance,
            "latent_style": metrics.latent_style(transferred.z, z_s) / variance,
            "colour_rgb": metrics.colour_distance(
                metrics.colour_statistics(output), metrics.colour_statistics(sides[1])
            ),
        }
        others = {
            "adain": baselines.adain(model, z_c, z_s),
            "style_vqgan": baselines.style_vqgan(model, sides[0]),
            "content_decoded": baselines.content_decoded(model, z_c),
        }
        for baseline, rendering in others.items():
            distances = lpips(rendering.pictures, sides[0])
            np.testing.assert_allclose(rows(evaluation, baseline)[LPIPS_NAME], distances, rtol=1e-3, err_msg=baseline)
    measured = rows(evaluation, MODEL)
    for name, values in expected.items():
        np.testing.assert_allclose(measured[name], values, rtol=1e-3, err_msg=name)
    assert transferred.indices is not None
    assert by_method(evaluation.summary)[MODEL]["usage"].value == len(transferred.indices.unique()) / 16
    for sample, picture in zip(evaluation.samples, to_arrays(output[:3]), strict=True):
        # rounding to 255 steps may fall the other way
        assert np.abs(sample[MODEL].astype(int) - picture.astype(int)).max() <= 1


@pytest.mark.parametrize("variant", ["discrete"], indirect=True)
def test_the_batch_size_changes_nothing(model: ExperimentStage2, pictures: Pictures, lpips: LPIPS) -> None:
    one, all_at_once = (evaluate(model, pictures, lpips, batch_size=size) for size in (1, 16))
    pd.testing.assert_frame_equal(one.table, all_at_once.table, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("variant", ["discrete"], indirect=True)
def test_samples_are_the_first_pairs_with_their_own_pictures(
    model: ExperimentStage2, pictures: Pictures, lpips: LPIPS
) -> None:
    samples = evaluate(model, pictures, lpips).samples
    assert len(samples) == 3
    pairs = held_out_pairs(len(pictures["content"]), len(pictures["style"]), 10, seed=0)
    for sample, (content, style) in zip(samples, pairs[:3], strict=True):
        assert sample.keys() == {MODEL, *BASELINES}
        photograph = pictures["content"].centre([content], 32)[0].permute(1, 2, 0).numpy()
        painting = pictures["style"].centre([style], 32)[0].permute(1, 2, 0).numpy()
        np.testing.assert_array_equal(sample["copied_content"], photograph)
        np.testing.assert_array_equal(sample["copied_style"], painting)


def test_reconstruction_of_every_picture(vqgan: ExperimentStage1, pictures: Pictures, lpips: LPIPS) -> None:
    contents = pictures["content"]
    evaluation = evaluate_reconstruction(vqgan, contents, lpips=lpips, side=32, batch_size=4)
    targets = pixels_to_float(contents.centre(range(len(contents)), 32))
    with torch.inference_mode():
        outputs, quantized = vqgan(targets)
    errors = ((outputs.clamp(-1, 1) - targets) ** 2).mean((1, 2, 3)).numpy()
    assert evaluation.table["file"].tolist() == contents.files
    np.testing.assert_allclose(evaluation.table["psnr"], 10 * np.log10(4 / errors), rtol=1e-4)
    score = by_method(evaluation.summary)[MODEL]
    assert score["psnr"].value == pytest.approx(evaluation.table["psnr"].mean())
    assert score["psnr"].n == len(contents)
    assert score["usage"].value == len(quantized.indices.unique()) / 16
    assert 1 < score["perplexity"].value <= 16
