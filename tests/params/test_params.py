"""The parameter file: what is shipped loads, what can't work is refused in one line that names the key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from quantart.components.discriminator import NLayerDiscriminator
from quantart.errors import UserError
from quantart.params import DiscriminatorParams, Params
from quantart.params.file import load_params

SHIPPED = Path(__file__).parents[2] / "params.yaml"

# what the messages below quote, whatever the shipped values are
SHAPE = {
    "data.resolution": 128,
    "data.short_side": 144,
    "model.ch": 16,
    "model.ch_mult": [1, 2, 4],
    "model.embed_dim": 32,
    "stage1.base.crop": 64,
    "stage1.base.discriminator_start": None,
    "stage1.domain.crop": 128,
    "stage1.discriminator.n_layers": 2,
    "stage2.train.crop": 16,
    "stage2.discriminator.n_layers": 0,
}


def write(folder: Path, changes: dict[str, Any]) -> Path:
    """The shipped file with `changes` (dotted key to value) on top of `SHAPE`."""
    values = yaml.safe_load(SHIPPED.read_text())
    for key, value in {**SHAPE, **changes}.items():
        *sections, last = key.split(".")
        section = values
        for name in sections:
            section = section.setdefault(name, {})
        section[last] = value
    path = folder / "params.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


def refusal(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        load_params(path)
    return str(caught.value)


def test_the_shipped_file_loads_and_holds_every_section() -> None:
    params = load_params(SHIPPED)
    assert set(yaml.safe_load(SHIPPED.read_text())) == set(Params.model_fields)
    assert params.latent_side == params.data.resolution // params.model.downsampling


def test_what_is_computed_from_the_values(tmp_path: Path) -> None:
    params = load_params(write(tmp_path, {"data.content": "photos", "data.style": "paintings"}))
    assert params.model.downsampling == 4
    assert params.latent_side == 32
    assert (params.data.folder("content"), params.data.folder("style")) == ("photos", "paintings")
    assert params.stage1.training("base").crop == 64
    assert params.stage1.training("content") == params.stage1.training("style") == params.stage1.domain
    ddconfig = params.model.ddconfig(128)
    assert (ddconfig["resolution"], ddconfig["ch"], ddconfig["ch_mult"]) == (128, 16, [1, 2, 4])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stage2.train.stepz": 3}, "params.yaml: stage2.train.stepz: unknown key"),
        ({"traning": {}}, "params.yaml: traning: unknown key"),
        (
            {"stage2.train.steps": "many"},
            "params.yaml: stage2.train.steps = 'many': input should be a valid integer",
        ),
        ({"stage2.train.steps": True}, "params.yaml: stage2.train.steps = True: input should be a valid integer"),
        (
            {"stage2.train.steps": 0},
            "params.yaml: stage2.train.steps = 0: input should be greater than or equal to 1",
        ),
        ({"data.test_share": 1.0}, "params.yaml: data.test_share = 1.0: input should be less than 1"),
        (
            {"stage2.train.learning_rate": -0.001},
            "params.yaml: stage2.train.learning_rate = -0.001: input should be greater than 0",
        ),
        (
            {"stage2.train.learning_rate": float("inf")},
            "params.yaml: stage2.train.learning_rate = inf: input should be a finite number",
        ),
        (
            {"stage1.discriminator.loss": "wasserstein"},
            "params.yaml: stage1.discriminator.loss = 'wasserstein': input should be 'hinge' or 'vanilla'",
        ),
        (
            {"evaluate.network": "inception_v3"},
            "params.yaml: evaluate.network = 'inception_v3': input should be 'squeezenet1_1', 'efficientnet_lite0', "
            "'alexnet' or 'vgg16'",
        ),
        (
            {"evaluate.features": "resnet50"},
            "params.yaml: evaluate.features = 'resnet50': input should be 'squeezenet1_1', 'efficientnet_lite0', "
            "'alexnet', 'vgg16' or 'inception_v3'",
        ),
        (
            {"stage2.train.betas": [0.9]},
            "params.yaml: stage2.train.betas = [0.9]: list should have at least 2 items after validation, not 1",
        ),
        (
            {"stage2.train.betas": [0.5, 1.0]},
            "params.yaml: stage2.train.betas.1 = 1.0: input should be less than 1",
        ),
        (
            {"promote.limits": ["usage < 1"]},
            "params.yaml: promote: 'usage < 1' is no limit; write `metric <= number`, or `usage >= number`",
        ),
        (
            {"promote.not_worse": ["usage"]},
            "params.yaml: promote: not_worse: usage is one value without an interval; put it into limits",
        ),
        (
            {"promote.not_worse": ["gram_vgg"]},
            "params.yaml: promote: 'gram_vgg' is no metric of an evaluation; did you mean gram_vgg16?",
        ),
    ],
)
def test_an_unknown_key_a_wrong_type_and_a_bad_range_name_key_and_value(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    assert refusal(write(tmp_path, changes)) == message


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"stage2.stage1_content": "models/a", "stage2.stage1_style": "models/b"},
            "params.yaml: stage2.stage1_content and stage1_style are both given, so nothing goes on from the base, "
            "which would be trained all the same; name one of the two in stage1.init_from as well",
        ),
        (
            {"data.short_side": 100},
            "params.yaml: data: short_side 100 is smaller than resolution 128; use at least 128",
        ),
        (
            {"data.val_share": 0.5, "data.test_share": 0.5},
            "params.yaml: data: val_share 0.5 and test_share 0.5 leave nothing to train on; "
            "their sum must stay below 1",
        ),
        (
            {"data.content": "photos", "data.content_table": {"where": "genre == landscape"}},
            "params.yaml: data: content_table is for a table (.csv) or a list (.txt), but content is 'photos'; "
            "set it to null",
        ),
        (
            {"data.style": "some.txt", "data.style_table": {"root": "paintings", "where": "genre == landscape"}},
            "params.yaml: data: style_table has a column or a filter, but style is a list; give its root only",
        ),
        (
            {"data.style": "all.csv", "data.style_table": {"where": "genre = landscape"}},
            "params.yaml: data.style_table: 'genre = landscape' is no filter; write `column == value` or "
            "`column != value`, several joined by ` and `, with quotes around a value that holds ` and `: "
            '`genre == "sea and sky"`',
        ),
        (
            {"data.style": "all.csv", "data.style_table": {"filter": "x"}},
            "params.yaml: data.style_table.filter: unknown key",
        ),
        (
            {"data.style": "one.JPG", "data.paired": True},
            "params.yaml: data: paired pictures need two sets of the same names, but style is one picture",
        ),
        (
            {"data.resolution": 130},
            "params.yaml: data.resolution 130 is not divisible by the downsampling 4 "
            "(model.ch_mult has 3 levels); use 128",
        ),
        (
            {"stage1.base.crop": 66},
            "params.yaml: stage1.base.crop 66 is not divisible by the downsampling 4 "
            "(model.ch_mult has 3 levels); use 64",
        ),
        (
            {"stage1.domain.crop": 148},
            "params.yaml: stage1.domain.crop 148 is larger than data.short_side 144",
        ),
        (
            {"model.embed_dim": 40},
            "params.yaml: model: embed_dim = 40 is not divisible into 32 groups; use 32, 64 or less than 32",
        ),
        (
            {"model.ch": 20},
            "params.yaml: model: ch·2 = 40 is not divisible into 32 groups; use 32, 64 or less than 32",
        ),
        (
            {"stage2.train.crop": 33},
            "params.yaml: stage2.train.crop 33 is larger than the latents (32 codes: data.resolution 128 / 4)",
        ),
        (
            {"stage1.base.batch_size": 1},
            "params.yaml: stage1.base.batch_size 1 leaves nothing for one of the two domains; use at least 2",
        ),
        (
            {"stage1.base.crop": 16},
            "params.yaml: stage1.base.crop 16 is too small for the perceptual loss; use at least 32, "
            "or set stage1.loss.perceptual_weight to 0",
        ),
        (
            {"stage1.base.steps": 300, "stage1.base.quantize_from": 400},
            "params.yaml: stage1.base: quantize_from 400 is not before the end of the training (300 steps)",
        ),
        (
            {"stage2.train.crop": 7},
            "params.yaml: stage2.train.crop 7 is 28 pixels, too small for stage2.loss.gram_weight, "
            "stage2.loss.perceptual_weight, stage2.loss.contrast_weight; use at least 8 codes, or set these to 0",
        ),
        (
            {"stage2.objective": "reference"},
            "params.yaml: stage2: objective reference with loss.content_weight, loss.style_weight and "
            "discriminator.weight 0 leaves nothing to train for; the published weights are 1, 10 and 0.8",
        ),
        (
            {"stage2.discriminator.n_layers": 3, "stage2.discriminator.weight": 0.5},
            "params.yaml: stage2.discriminator.n_layers 3 leaves nothing of a 16-wide input "
            "(too small for the discriminator); use fewer layers or a larger crop",
        ),
        (
            {"stage1.discriminator.n_layers": 6},
            "params.yaml: stage1.discriminator.n_layers 6 leaves nothing of a 128-wide input "
            "(too small for the discriminator); use fewer layers or a larger crop",
        ),
        (
            {"stage1.base.crop": 8, "stage1.base.discriminator_start": 10},
            "params.yaml: stage1.discriminator.n_layers 2 leaves nothing of a 8-wide input "
            "(too small for the discriminator); use fewer layers or a larger crop",
        ),
        (
            {"stage2.train.checkpoint_every": 50, "stage2.train.log_every": 40},
            "params.yaml: stage2.train: checkpoint_every 50 is not a multiple of log_every 40",
        ),
    ],
)
def test_an_impossible_combination_says_what_would_be_right(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    assert refusal(write(tmp_path, changes)) == message


def test_sources_that_fit_are_taken(tmp_path: Path) -> None:
    table = {"column": "file", "where": "genre == still life", "root": None}
    changes = {"data.content": "some.txt", "data.content_table": {"root": "photos"}}
    params = load_params(write(tmp_path, changes | {"data.style": "all.CSV", "data.style_table": table}))
    content, style = params.data.table("content"), params.data.table("style")
    assert content is not None
    assert content.root == "photos"
    assert style is not None
    assert (style.column, style.where, style.root) == ("file", "genre == still life", None)
    assert load_params(write(tmp_path, {"data.style": "one.jpg"})).data.table("style") is None


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, {})
    values = yaml.safe_load(path.read_text())
    del values["model"]["n_embed"]
    path.write_text(yaml.safe_dump(values))
    assert refusal(path) == "params.yaml: model.n_embed: missing"


def test_every_fault_has_its_line(tmp_path: Path) -> None:
    message = refusal(write(tmp_path, {"model.ch": 0, "encode.coppies": 3}))
    assert message.splitlines() == [
        "params.yaml: model.ch = 0: input should be greater than or equal to 1",
        "params.yaml: encode.coppies: unknown key",
    ]


def test_a_file_that_is_missing_broken_or_empty_is_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    assert refusal(path) == f"{path}: not found; run inside a QuantArt project, which has a params.yaml"
    path.write_text("data: [1, 2\nmodel: 3")
    assert refusal(path).startswith(f"{path}: not valid YAML: ")
    assert "\n" not in refusal(path)
    path.write_bytes(b"seed: \xff\xfe")
    assert refusal(path).startswith(f"{path}: not valid YAML: ")
    path.write_text("")
    assert refusal(path) == f"{path}: holds no parameters; it must be a mapping with data, model, stage1, …"


def test_numbers_in_scientific_notation_are_numbers_as_they_are_for_dvc(tmp_path: Path) -> None:
    path = write(tmp_path, {"stage2.train.learning_rate": 0.125})
    path.write_text(path.read_text().replace("0.125", "1e-3"))
    assert load_params(path).stage2.train.learning_rate == 1e-3


def test_parameters_never_change(tmp_path: Path) -> None:
    params = load_params(SHIPPED)
    with pytest.raises(ValueError, match="frozen"):
        params.seed = 1  # type: ignore[misc]


@given(side=st.integers(1, 40), n_layers=st.integers(0, 4))
@settings(deadline=None, max_examples=40)
def test_the_discriminators_check_refuses_exactly_what_the_network_cannot_take(side: int, n_layers: int) -> None:
    disc = DiscriminatorParams(ndf=1, n_layers=n_layers, weight=1.0, reference_order=False)
    network = NLayerDiscriminator(1, 1, n_layers).eval()
    try:
        network(torch.zeros(1, 1, side, side))
        works = True
    except RuntimeError:
        works = False
    try:
        Params._discriminator_fits("n_layers", disc, side)
        allowed = True
    except ValueError:
        allowed = False
    assert allowed == works


def test_the_published_objective_is_one_word_whatever_else_is_set() -> None:
    values = yaml.safe_load(SHIPPED.read_text(encoding="utf8"))
    values["stage2"]["network"] |= {"adain_start": True, "adain_end": True}
    values["stage2"]["loss"] |= {
        "content_weight": 1.0,
        "style_weight": 10.0,
        "divide_by_variance": True,
        "gram_weight": 4.0,
        "contrast_weight": 1.0,
    }
    own = Params.model_validate(values).stage2
    assert own.network.adain_start
    assert own.network.adain_end
    assert (own.loss.decoded["gram_weight"], own.loss.decoded["contrast_weight"]) == (4.0, 1.0)
    values["stage2"]["objective"] = "reference"
    published = Params.model_validate(values).stage2
    assert not published.network.adain_start
    assert not published.network.adain_end
    assert not published.loss.divide_by_variance
    assert set(published.loss.decoded.values()) == {0.0}
    assert published.loss.style_weight == own.loss.style_weight
