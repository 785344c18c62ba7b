import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch

from quantart.images.arrays import Picture, resize, resize_short_side, to_arrays, to_tensor
from quantart.images.decode import ImageError, read_image
from quantart.models.fidelity import FidelityControl
from quantart.models.stage_2 import ExperimentStage2
from quantart.refining import refine
from quantart.stylize import strips
from quantart.stylize.stylizer import Stylizer

from ..conftest import SAMPLE
from ..models.networks import LEAN, PAINTER


@pytest.fixture(autouse=True)
def _float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is compared byte for byte is in float32 whatever the machine can do."""
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "no")


def test_in_bfloat16_the_codes_are_float32s_and_the_decoders_picture_nearly(
    control: FidelityControl, network: ExperimentStage2, noise: Picture, monkeypatch: pytest.MonkeyPatch
) -> None:
    content, style = noise[:32, :32], noise[-32:, -32:]
    exact = Stylizer(control).stylize(content, style).astype(float)
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    stylizer = Stylizer(control)
    with torch.inference_mode():
        z = network.transfer(network.content_latents(to_tensor(content)), network.style_latents(to_tensor(style))).z
        with torch.autocast("cpu", torch.bfloat16):
            expected = to_arrays(network.decode(z))[0]
    painted = stylizer.stylize(content, style)
    assert np.array_equal(painted, expected)
    assert 0 < np.abs(painted - exact).mean() < 1
    assert stylizer.stylize(content, style, alpha=0.5, beta=0.5).shape == content.shape


def test_a_square_of_the_models_size_is_the_networks_own_output(network: ExperimentStage2, noise: Picture) -> None:
    content, style = noise[:32, :32], noise[-32:, -32:]
    with torch.inference_mode():
        expected = to_arrays(network(to_tensor(content), to_tensor(style)))[0]
    assert np.array_equal(Stylizer(network).stylize(content, style), expected)


@pytest.mark.parametrize(
    ("content", "size", "expected"),
    [((64, 64), None, (64, 64)), ((33, 47), None, (33, 47)), ((200, 100), 64, (64, 32)), ((32, 40), 97, (78, 97))],
)
def test_any_size_keeps_the_contents_aspect(
    content: tuple[int, int], size: int | None, expected: tuple[int, int], network: ExperimentStage2, noise: Picture
) -> None:
    painted = Stylizer(network).stylize(np.resize(noise, (*content, 3)), noise, size=size)
    assert painted.shape == (*expected, 3)
    assert painted.dtype == np.uint8


def test_another_size_is_the_network_on_the_scaled_padded_picture(
    network: ExperimentStage2, pictures: tuple[Picture, Picture]
) -> None:
    content, style = pictures
    stylizer = Stylizer(network)
    scaled = resize(content, *(round(side * 51 / max(content.shape)) for side in content.shape[:2]))
    padded = [
        np.pad(picture, ((0, picture.shape[0] % 2), (0, picture.shape[1] % 2), (0, 0)), mode="reflect")
        for picture in (scaled, stylizer.seen_of(style))
    ]
    with torch.inference_mode():
        expected = to_arrays(network(*map(to_tensor, padded)))[0]
    painted = stylizer.stylize(content, style, size=51)
    assert np.array_equal(painted, expected[: scaled.shape[0], : scaled.shape[1]])


def test_a_lean_network_paints_any_size(noise: Picture) -> None:
    torch.manual_seed(0)
    lean = ExperimentStage2(LEAN, n_embed=16, embed_dim=8, block_num=1).eval()
    content = np.resize(noise, (33, 38, 3))
    padded = np.pad(content, ((0, 3), (0, 2), (0, 0)), mode="reflect")  # 4 pixels to a code
    stylizer = Stylizer(lean)
    with torch.inference_mode():
        expected = to_arrays(lean(to_tensor(padded), to_tensor(stylizer.seen_of(noise))))[0][:33, :38]
    assert np.array_equal(stylizer.stylize(content, noise), expected)


def test_a_picture_narrower_than_what_it_is_padded_by_is_mirrored_again(noise: Picture) -> None:
    torch.manual_seed(0)
    shape = {**PAINTER, "ch_mult": [1] * 8}  # 128 pixels to a code
    deep = ExperimentStage2(shape, n_embed=16, embed_dim=8, block_num=1)
    assert Stylizer(deep).stylize(np.resize(noise, (32, 33, 3)), noise).shape == (32, 33, 3)


@pytest.mark.parametrize(
    ("exact", "precision"),
    [(True, "no"), (False, "no"), (False, "bf16")],
    ids=["exact", "bfloat16 maps, thinned attention", "bfloat16"],
)
def test_no_seam_shows_where_strips_meet(
    exact: bool, precision: str, network: ExperimentStage2, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", precision)
    rows, height, width = 12, 120, 160
    stylizer = Stylizer(network)
    photos = [read_image(file, max_pixels=10**8) for file in sorted((SAMPLE / "photos").glob("*.jpg"))[::6]]
    contents = [resize(photo, height, width) for photo in photos]
    whole = np.stack([stylizer.stylize(content, photos[0]) for content in contents]).astype(float)
    heights: list[int] = []
    hook = network.decoder.conv_out.register_forward_pre_hook(lambda _, x: heights.append(x[0].shape[2]))
    monkeypatch.setattr(strips, "PLAIN", 2**12)
    monkeypatch.setattr(strips, "STRIP", rows * width * PAINTER["ch"])
    if not exact:
        monkeypatch.setattr(strips, "FULL_PRECISION", 2**12)
        monkeypatch.setattr(strips, "MAX_KEYS", 2**10)  # of 60 × 80 codes
    painted = np.stack([stylizer.stylize(content, photos[0]) for content in contents]).astype(float)
    hook.remove()
    assert max(heights) == rows + 2 * strips.REACH  # it did run in strips
    assert (np.abs(painted - whole).max() <= 1) == exact  # the approximations did take part
    steps = np.abs(np.diff(painted, axis=1)).mean((0, 2, 3))  # between each row and the next
    # where strips meet, codes meet: compared with where codes alone do, every second row; not beside the picture's
    # own edges, where the convolutions' zeros show
    across = np.arange(rows - 1, height - 1, rows)
    inside = np.setdiff1d(np.arange(rows - 1, height - rows, 2), across)
    assert steps[across].mean() == pytest.approx(steps[inside].mean(), rel=0.1)


def test_a_style_sent_again_is_not_encoded_again(
    control: FidelityControl, pictures: tuple[Picture, Picture], monkeypatch: pytest.MonkeyPatch
) -> None:
    content, style = pictures
    settings: list[dict[str, Any]] = [{}, {"alpha": 0.5}, {"alpha": 0.5, "beta": 0.3, "size": 64}, {"beta": 0.0}]
    without = Stylizer(control, style_cache=0)
    expected = [without.stylize(content, style, **setting) for setting in settings]
    assert without.styles.figures() == (0, 5, 0, 0)
    cached = Stylizer(control)
    for setting, picture in zip(settings * 2, expected * 2, strict=True):
        assert np.array_equal(cached.stylize(content, style.copy(), **setting), picture)
    figures = cached.styles.figures()
    assert (figures.hits, figures.misses, figures.entries) == (8, 2, 2)  # of two variants each
    assert figures.bytes == 2 * 4 * 8 * np.prod([-(-side // 2) for side in cached.seen_of(style).shape[:2]])
    cached.stylize(content, 255 - style)
    assert cached.styles.figures().misses == 3


def test_a_style_sent_again_is_not_walked_again(noise: Picture, monkeypatch: pytest.MonkeyPatch) -> None:
    network = ExperimentStage2(LEAN, n_embed=16, embed_dim=8, transfer_network="twin", width=8, fine_blocks=1).eval()
    stylizer = Stylizer(network)
    expected = [stylizer.stylize(content, noise) for content in (noise, noise[::-1])]
    monkeypatch.delattr(type(network.model_x2y), "style_features")
    for content, picture in zip((noise, noise[::-1]), expected, strict=True):
        assert np.array_equal(stylizer.stylize(content, noise), picture)
    assert stylizer.styles.figures()[:3] == (3, 1, 1)


def test_another_alpha_or_beta_needs_the_decoder_alone(
    control: FidelityControl, pictures: tuple[Picture, Picture], monkeypatch: pytest.MonkeyPatch
) -> None:
    content, style = pictures
    settings = [(0.5, 1.0), (0.5, 0.3), (0.8, 1.0), (1.0, 0.0), (0.5, 1.0)]
    plain, cached = Stylizer(control), Stylizer(control, content_cache=2**26)
    expected = [plain.stylize(content, style, *setting) for setting in settings]
    assert plain.contents.figures().entries == 0
    cached.stylize(content, style, 0.5)
    for network in ("content_latents", "style_latents", "transfer"):
        monkeypatch.delattr(ExperimentStage2, network)
    for setting, picture in zip(settings, expected, strict=True):
        assert np.array_equal(cached.stylize(content.copy(), style.copy(), *setting), picture)
    with pytest.raises(AttributeError, match="content_latents"):
        cached.stylize(content, style, size=64)


def test_padding_does_not_show_in_what_is_kept(network: ExperimentStage2, noise: Picture) -> None:
    content = np.resize(noise, (32, 45, 3))
    mirrored = np.concatenate([content, content[:, -2:-3:-1]], axis=1)  # by hand what padding to 46 does
    stylizer = Stylizer(network)
    assert np.array_equal(stylizer.stylize(content, noise), stylizer.stylize(mirrored, noise)[:, :45])


def test_the_style_matters(network: ExperimentStage2, noise: Picture) -> None:
    stylizer = Stylizer(network)
    assert not np.array_equal(stylizer.stylize(noise, noise), stylizer.stylize(noise, 255 - noise // 2))


@pytest.mark.parametrize(
    ("content", "style", "fault"),
    [
        ((31, 60), (40, 40), "content: 60 × 31 pixels"),
        ((40, 40), (1, 1), "style: 1 × 1 pixels"),
        ((32, 8193), (40, 40), "content: 8193 × 32 pixels"),
    ],
)
def test_pictures_that_cannot_be_painted_are_named(
    content: tuple[int, int], style: tuple[int, int], fault: str, network: ExperimentStage2
) -> None:
    blank = [np.zeros((*size, 3), np.uint8) for size in (content, style)]
    with pytest.raises(ImageError) as refused:
        Stylizer(network).stylize(*blank)
    assert refused.value.fault == fault


@pytest.mark.parametrize(
    ("alpha", "beta", "asked"), [(1.0, 1.0, 2), (0.0, 0.5, 2), (0.5, 0.5, 4), (0.5, 0.0, 0)], ids=str
)
def test_each_networks_answer_is_refined_before_alpha_and_beta_mix_them(
    alpha: float, beta: float, asked: int, control: FidelityControl, pictures: tuple[Picture, Picture]
) -> None:
    stylizer, fidelity, calls = Stylizer(control), control.fidelity(alpha, beta), []
    content, style = resize(pictures[0], 66, 80), pictures[1]

    def go_on() -> bool:
        calls.append(1)
        return True

    painted = stylizer.paint(content, style, fidelity, None, 2, go_on)
    assert len(calls) == asked
    seen = stylizer.seen_of(style)
    photo, painting = to_tensor(content), to_tensor(resize_short_side(seen, 64))  # the resolution of 32 is too small
    even = np.pad(seen, ((0, seen.shape[0] % 2), (0, seen.shape[1] % 2), (0, 0)), mode="reflect")
    with torch.inference_mode():
        contents = {variant: control.models[variant].content_latents(photo) for variant in fidelity.variants}
        refined = {}
        for variant in fidelity.styled:
            model = control.models[variant]
            answer = model.transfer(contents[variant], model.style_latents(to_tensor(even))).unquantised
            refined[variant] = refine(model, answer, photo, painting, 2)
        z = control.mixed_latents(contents, refined, fidelity)
        expected = to_arrays(control.decode(z, fidelity))[0]
    assert np.array_equal(painted, expected)
    assert np.array_equal(painted, stylizer.paint(content, style, fidelity)) == (asked == 0)


def test_the_losses_are_not_imported_unless_something_is_refined() -> None:
    code = (
        "import sys, quantart.stylize.stylizer;"
        "assert not any(name.startswith('quantart.losses') for name in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_neither_torch_nor_pydantic_is_imported_before_a_network_is_opened() -> None:
    code = (
        "import sys, quantart_cli.app, quantart.stylize.files; print(*{'torch', 'pydantic', 'yaml'} & {*sys.modules})"
    )
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True).stdout.strip() == b""
