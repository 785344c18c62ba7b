"""The parameters: the shipped file loads, and what cannot work is refused in one line that names the key."""

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
from quantart.models.stage_1 import ExperimentStage1
from quantart.params import Params
from quantart.params.file import load_params
from quantart.params.training import DiscriminatorParams

SHIPPED = Path(__file__).parents[1] / "small.yaml"

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
}
REFERENCE = {"stage2.objective": "reference"}


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
    return caught.value.fault


def test_the_shipped_file_loads_and_holds_every_section() -> None:
    load_params(SHIPPED)
    assert set(yaml.safe_load(SHIPPED.read_text())) == set(Params.model_fields)


def test_what_is_computed_from_the_values(tmp_path: Path) -> None:
    params = load_params(write(tmp_path, {"data.content": "photos", "data.style": "paintings"}))
    assert params.model.downsampling == 4
    assert (params.data.folder("content"), params.data.folder("style")) == ("photos", "paintings")
    assert params.stage1.training("base").crop == 64
    assert params.stage1.training("content") == params.stage1.training("style") == params.stage1.domain
    ddconfig = params.model.ddconfig(128)
    assert (ddconfig["resolution"], ddconfig["ch"], ddconfig["ch_mult"]) == (128, 16, [1, 2, 4])


def test_a_lean_model_needs_no_groups_and_says_that_it_is_one(tmp_path: Path) -> None:
    lean = {"architecture": "lean", "patch": 2, "ch": 20, "ch_mult": [1, 2], "embed_dim": 16}
    model = load_params(write(tmp_path, {f"model.{key}": value for key, value in lean.items()})).model
    assert model.downsampling == 4
    assert {"architecture": "lean", "patch": 2}.items() <= model.ddconfig(128).items()
    assert not {"attn_resolutions", "dropout"} & model.ddconfig(128).keys()
    torch.manual_seed(0)
    assert ExperimentStage1(model.ddconfig(128), 16, 16).latents(torch.zeros(1, 3, 64, 32)).shape == (1, 16, 16, 8)


@pytest.mark.parametrize(
    ("changes", "key", "said"),
    [
        ({"stage2.train.stepz": 3}, "stage2.train.stepz", ["unknown key"]),
        ({"traning": {}}, "traning", ["unknown key"]),
        ({"stage2.stage1_content": None}, "stage2.stage1_content", ["stage1.content_from"]),
        ({"stage2.stage1_style": "models/a"}, "stage2.stage1_style", ["stage1.style_from"]),
        ({"stage2.train.steps": "many"}, "stage2.train.steps = 'many'", ["integer"]),
        ({"stage2.train.steps": True}, "stage2.train.steps = True", ["integer"]),
        ({"stage2.train.steps": 0}, "stage2.train.steps = 0", ["1"]),
        ({"data.test_share": 1.0}, "data.test_share = 1.0", ["less than 1"]),
        ({"stage2.train.learning_rate": -0.001}, "stage2.train.learning_rate = -0.001", ["greater than 0"]),
        ({"stage2.train.learning_rate": float("inf")}, "stage2.train.learning_rate = inf", ["finite"]),
        ({"stage1.discriminator.loss": "mine"}, "stage1.discriminator.loss = 'mine'", ["'hinge'", "'vanilla'"]),
        (
            {"evaluate.network": "inception_v3"},
            "evaluate.network = 'inception_v3'",
            ["'squeezenet1_1'", "'efficientnet_lite0'", "'alexnet'", "'vgg16'"],
        ),
        ({"evaluate.features": "resnet50"}, "evaluate.features = 'resnet50'", ["'vgg16'", "'inception_v3'"]),
        ({"stage2.train.betas": [0.9]}, "stage2.train.betas = [0.9]", ["2"]),
        ({"stage2.train.betas": [0.5, 1.0]}, "stage2.train.betas.1 = 1.0", ["less than 1"]),
        ({"promote.limits": ["usage < 1"]}, "promote", ["'usage < 1'", "usage >= number"]),
        ({"promote.not_worse": ["usage"]}, "promote", ["not_worse", "usage", "limits"]),
        ({"promote.votes": "win_rate > 0.5"}, "promote", ["votes", "'win_rate > 0.5'", "against champion"]),
        ({"promote.votes": "win_rate >= 1.5 against champion"}, "promote", ["0 to 1", "null"]),
        ({"promote.not_worse": ["gram_vgg"]}, "promote", ["'gram_vgg'", "gram_vgg16"]),
        # combinations
        ({"data.short_side": 100}, "data", ["short_side 100", "resolution 128"]),
        ({"data.val_share": 0.5, "data.test_share": 0.5}, "data", ["val_share 0.5", "test_share 0.5", "1"]),
        (
            {"data.content": "photos", "data.content_table": {"where": "genre == landscape"}},
            "data",
            ["content_table", "'photos'", ".csv", ".txt", "null"],
        ),
        (
            {"data.style": "some.txt", "data.style_table": {"root": "paintings", "where": "genre == landscape"}},
            "data",
            ["style_table", "style is a list", "root"],
        ),
        (
            {"data.style": "all.csv", "data.style_table": {"where": "genre = landscape"}},
            "data.style_table",
            ["'genre = landscape'", "column == value"],
        ),
        ({"data.style": "all.csv", "data.style_table": {"filter": "x"}}, "data.style_table.filter", ["unknown key"]),
        ({"data.style": "one.JPG", "data.paired": True}, "data", ["paired", "style"]),
        ({"data.resolution": 130}, "data.resolution 130", ["downsampling 4", "model.ch_mult", "3 levels", "128"]),
        ({"stage1.base.crop": 66}, "stage1.base.crop 66", ["downsampling 4", "model.ch_mult", "use 64"]),
        ({"stage1.domain.crop": 148}, "stage1.domain.crop 148", ["data.short_side 144"]),
        ({"model.embed_dim": 40}, "model", ["embed_dim = 40", "32 groups", "32, 64 or less than 32"]),
        ({"model.ch": 20}, "model", ["ch·2 = 40", "32 groups", "32, 64 or less than 32"]),
        ({"model.architecture": "lean", "model.attn_resolutions": [16]}, "model", ["architecture", "attn_resolutions"]),
        ({"model.architecture": "lean", "model.dropout": 0.1}, "model", ["architecture", "dropout"]),
        ({"stage1.base.optimizer": "sgd"}, "stage1.base.optimizer = 'sgd'", ["'adam'", "'muon'"]),
        ({"stage1.base.decoder_from": 0, "stage1.base.quantize_from": 9}, "stage1.base", ["decoder_from 0", "from 9"]),
        ({"stage1.domain.perceptual_from": 10**6}, "stage1.domain", ["perceptual_from 1000000", "steps"]),
        ({"model.patch": 2}, "model", ["patch 2", "architecture: lean"]),
        ({"model.patch": 3}, "model.patch = 3", ["1, 2 or 4"]),
        (
            {"model.architecture": "lean", "model.patch": 4, "stage1.base.crop": 40},
            "stage1.base.crop 40",
            ["downsampling 16", "model.patch is 4"],
        ),
        ({"stage2.train.crop": 33}, "stage2.train.crop 33", ["32 codes", "data.resolution 128 / 4"]),
        ({"stage1.base.batch_size": 1}, "stage1", ["base.batch_size 1", "at least 2"]),
        (
            {"stage1.content_from": "models/a", "stage1.style_from": "models/b"},
            "stage1",
            ["content_from", "style_from", "init_from"],
        ),
        ({"stage1.content_from": ""}, "stage1.content_from = ''", ["at least 1 character"]),
        ({"stage1.base.crop": 16}, "stage1", ["base.crop 16", "at least 32", "loss.perceptual_weight"]),
        ({"stage1.base.steps": 300, "stage1.base.quantize_from": 400}, "stage1.base", ["quantize_from 400", "300"]),
        ({"stage2.train.crop": 15}, "stage2.train.crop 15", ["60 pixels", "objective painting", "16 codes"]),
        (
            {"stage2.painting.quantize_from": 400, "stage2.train.steps": 400},
            "stage2",
            ["painting.quantize_from 400", "400 steps"],
        ),
        ({"stage2.objective": "decoded"}, "stage2.objective = 'decoded'", ["'painting'", "'reference'"]),
        ({"stage2.loss.gram_weight": 4.0}, "stage2.loss.gram_weight", ["stage2.painting.texture_weight"]),
        ({"stage2.loss.divide_by_variance": True}, "stage2.loss.divide_by_variance", ["gone", "leave it out"]),
        ({"stage2.network.adain_end": True}, "stage2.network.adain_end", ["gone", "leave it out"]),
        ({"stage2.discriminator.learning_rate_factor": 0.0}, "stage2.discriminator.learning_rate_factor = 0.0", ["0"]),
        (
            REFERENCE
            | {"stage2.loss.content_weight": 0.0, "stage2.loss.style_weight": 0.0, "stage2.discriminator.weight": 0.0},
            "stage2",
            [
                "objective reference",
                "loss.content_weight",
                "loss.style_weight",
                "discriminator.weight",
                "1, 10 and 0.8",
            ],
        ),
        (
            REFERENCE | {"stage2.discriminator.n_layers": 3, "stage2.discriminator.weight": 0.5},
            "stage2",
            ["discriminator.n_layers 3", "side 16"],
        ),
        ({"stage1.discriminator.n_layers": 6}, "stage1", ["discriminator.n_layers 6", "side 128"]),
        (
            {"stage1.base.crop": 8, "stage1.base.discriminator_start": 10},
            "stage1",
            ["discriminator.n_layers 2", "side 8"],
        ),
        (
            {"stage2.train.checkpoint_every": 50, "stage2.train.log_every": 40},
            "stage2.train",
            ["checkpoint_every 50", "log_every 40"],
        ),
    ],
)
def test_a_fault_is_one_line_that_names_key_value_and_what_would_be_right(
    tmp_path: Path, changes: dict[str, Any], key: str, said: list[str]
) -> None:
    line = refusal(write(tmp_path, changes))
    assert line.startswith(f"params.yaml: {key}")
    assert "\n" not in line
    assert [words for words in said if words not in line.removeprefix(f"params.yaml: {key}")] == []


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
    lines = refusal(write(tmp_path, {"model.ch": 0, "encode.coppies": 3, "stage2.stage1_style": None})).splitlines()
    for line, key in zip(lines, ("model.ch", "encode.coppies", "stage2.stage1_style"), strict=True):
        assert line.startswith(f"params.yaml: {key}")


def test_a_file_that_is_missing_broken_or_empty_is_named(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    assert refusal(path) == f"{path}: not found"
    for content in (b"data: [1, 2\nmodel: 3", b"seed: \xff\xfe"):
        path.write_bytes(content)
        assert refusal(path).startswith(f"{path}: not valid YAML: ")
        assert "\n" not in refusal(path)
    path.write_text("")
    assert refusal(path).startswith(f"{path}: ")


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
        disc.check_input(side)
        allowed = True
    except ValueError:
        allowed = False
    assert allowed == works


def test_vqgans_that_are_given_are_found_by_domain(tmp_path: Path) -> None:
    assert load_params(SHIPPED).stage1.given_vqgans == {}
    given = {"stage1.init_from": "models/a", "stage1.style_from": "models/b"}
    assert load_params(write(tmp_path, given)).stage1.given_vqgans == {"base": "models/a", "style": "models/b"}


def test_the_published_objective_is_one_word() -> None:
    values = yaml.safe_load(SHIPPED.read_text(encoding="utf8"))
    values["stage2"]["objective"] = "reference"
    published = Params.model_validate(values).stage2
    paper = yaml.safe_load((SHIPPED.parents[1] / "presets" / "_paper.yaml").read_text(encoding="utf8"))["stage2"]
    for section in ("network", "loss", "discriminator"):
        assert published.model_dump()[section] == paper[section]
