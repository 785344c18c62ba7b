"""Presets: each one gives the paper's task, and using one loses nothing of the user's."""

from __future__ import annotations

import errno
import re
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from quantart.components.style_transfer import StyleTransferModule
from quantart.errors import UserError
from quantart.models.stage_1 import ExperimentStage1
from quantart.params import Params
from quantart.params.file import changes, load_params
from quantart.presets import find_preset, params_with, preset_table, presets_of, show_preset, use_preset
from quantart.project import Project
from quantart.vocabulary.names import DOMAINS

ROOT = Path(__file__).parents[1]
OPEN = "open"  # no task of the paper
TASKS = [
    "art2art",
    "coco2art",
    "coco2coco",
    "custom_paired",
    "custom_unpaired",
    "face2art",
    "landscape2art",
    "landscape2art_continuous",
    "landscape2landscape",
    "vqgan_wikiart",
]
ALL = sorted([*TASKS, OPEN])
OWN = "summary: mine\nextends: _paper\ndata: {content: a, style: b}\n"


@cache
def given(name: str) -> Params:
    project = Project(ROOT)
    return params_with(find_preset(project, name), project.params())


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project with the shipped parameters and presets."""
    shutil.copy(ROOT / "tests" / "small.yaml", tmp_path / "params.yaml")
    shutil.copytree(ROOT / "presets", tmp_path / "presets")
    return Project(tmp_path)


def write(project: Project, text: str, name: str = "mine") -> None:
    (project.root / "presets" / f"{name}.yaml").write_text(text)


def edit(project: Project, old: str, new: str) -> None:
    path = project.root / "params.yaml"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def refusal(project: Project, name: str = "mine") -> UserError:
    before = (project.root / "params.yaml").read_bytes()
    with pytest.raises(UserError) as caught:
        use_preset(project, name)
    assert (project.root / "params.yaml").read_bytes() == before
    assert sorted(path.name for path in project.root.iterdir()) == ["params.yaml", "presets"]
    return caught.value


# what is shipped


def test_every_task_of_the_paper_has_one() -> None:
    assert [preset.name for preset in presets_of(Project(ROOT))] == ALL


def test_the_networks_have_the_papers_size() -> None:
    params = given("coco2art")
    for name in TASKS:
        assert given(name).model == params.model
        assert given(name).stage2.network == params.stage2.network
        assert given(name).data.resolution // given(name).model.downsampling == given(name).stage2.train.crop == 16
    with torch.device("meta"):
        vqgan = ExperimentStage1(
            params.model.ddconfig(params.data.resolution), params.model.n_embed, params.model.embed_dim
        )
        transfer = StyleTransferModule(params.model.embed_dim, **params.stage2.network.model_dump())

    def count(*networks: torch.nn.Module) -> int:
        return sum(p.numel() for network in networks for p in network.parameters())

    assert count(vqgan.encoder) == 29_298_176
    assert count(vqgan.decoder) == 42_449_795
    assert round(count(vqgan.decoder, vqgan.post_quant_conv) / 1e6, 1) == 42.5  # as quoted in docs/presets.md
    assert round(count(transfer) / 1e6, 1) == 10.3


@pytest.mark.parametrize("name", TASKS)
def test_the_hyperparameters_are_the_references(name: str) -> None:
    params = given(name)
    face, photos = name == "face2art", name in ("coco2coco", "landscape2landscape")
    assert params.data.resolution == params.stage1.domain.crop == 256
    for training in (params.stage1.base, params.stage1.domain, params.stage2.train):
        assert training.learning_rate == pytest.approx(4.5e-6 * training.batch_size)
        assert (training.betas, training.schedule) == ([0.5, 0.9], "constant")
        assert (training.grad_clip, training.weight_ema, training.weight_decay) == (None, 0.0, 0.0)
    assert (params.stage1.domain.batch_size, params.stage1.domain.discriminator_start) == (5, 10000)
    assert (params.stage1.quantizer.update, params.stage1.quantizer.legacy) == ("gradient", True)
    assert (params.stage1.loss.perceptual_network, params.stage1.loss.perceptual_weight) == ("vgg16", 1.0)
    assert (params.stage1.discriminator.weight, params.stage1.discriminator.n_layers) == (0.8, 3)
    assert params.stage2.train.batch_size == 8
    assert params.stage2.loss.style_weight == (100 if photos else 10)
    assert params.stage2.loss.codebook_weight == (10 if face else 1)
    assert params.stage2.discriminator.weight == (0.1 if face else 0.8)
    assert params.stage2.discriminator.n_layers == 0
    assert params.stage1.discriminator.reference_order
    assert params.stage2.discriminator.reference_order
    assert params.stage2.objective == "reference"
    assert params.export.variant == ("continuous" if name == "landscape2art_continuous" else "discrete")


def test_the_data_is_the_tasks() -> None:
    assert given("landscape2landscape").data.content == given("landscape2art").data.content
    assert given("custom_unpaired").data.content == "data/raw/content"
    for name in ("art2art", "coco2coco", "landscape2landscape", "vqgan_wikiart"):
        assert given(name).data.content == given(name).data.style
    landscapes = given("landscape2art").data
    assert landscapes.style_table is not None
    assert landscapes.style_table.where == "genre == landscape"
    assert given("coco2art").data.style_table is None
    assert [name for name in TASKS if given(name).data.paired] == ["custom_paired"]


@pytest.mark.parametrize("name", TASKS)
def test_an_overlay_says_nothing_that_its_base_says_already(name: str) -> None:
    *below, (_, own) = find_preset(Project(ROOT), name).layers
    base: dict[str, Any] = {}
    for _, values in below:
        base = {**base, **values}

    def repeated(over: dict[str, Any], under: dict[str, Any]) -> list[str]:
        found = []
        for key, value in over.items():
            if isinstance(value, dict) and isinstance(under.get(key), dict):
                found += [f"{key}.{inner}" for inner in repeated(value, under[key])]
            elif key in under and under[key] == value:
                found.append(key)
        return found

    assert repeated(own, base) == []


@pytest.mark.parametrize("name", ALL)
def test_each_begins_with_how_to_run_it(name: str) -> None:
    comment = (ROOT / "presets" / f"{name}.yaml").read_text().split("\n\n")[0]
    assert all(line.startswith("#") for line in comment.splitlines())
    for part in ("# Data:", "# Run:", f"quantart preset use {name}\n", "dvc repro", "# Needs:"):
        assert part in comment


@pytest.mark.parametrize("name", ALL)
def test_dvc_finds_every_parameter_it_asks_for(project: Project, name: str) -> None:
    use_preset(project, name)
    written = yaml.safe_load((project.root / "params.yaml").read_text())
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"].values()
    templates = [key for stage in stages for key in stage.get("do", stage).get("params", [])]
    asked = {re.sub(r"\$\{[\w.]+\}", domain, key) for key in templates for domain in DOMAINS}
    assert len(asked) > 15
    for key in asked:
        value = written
        for part in key.split("."):
            assert part in value, key
            value = value[part]


# list and show


def test_the_list_has_one_line_each_in_80_columns() -> None:
    from rich.console import Console

    console = Console(width=80, record=True)
    console.print(preset_table(Project(ROOT)))
    lines = console.export_text().splitlines()
    assert [line.split()[0] for line in lines] == ["preset", *ALL]
    assert all(len(line.split()) > 2 for line in lines)


def test_show_gives_the_whole_file_and_marks_what_differs(project: Project) -> None:
    shown = show_preset(project, "face2art")
    assert Params.model_validate(yaml.safe_load(shown)) == given("face2art")
    lines = [line.split("#") for line in shown.splitlines()]
    marked = {code.split(":")[0].strip(): note.strip() for code, note in (x for x in lines if len(x) == 2 and x[0])}
    assert marked["resolution"] == "now 128"
    assert marked["ch_mult"] == "now [1, 2, 2]"
    assert "seed" not in marked
    assert "n_embed" not in marked
    differing = changes(project.params().model_dump(), given("face2art").model_dump())
    assert f"# {len(differing)} values differ from" in shown
    assert len([x for x in lines if len(x) == 2 and x[0]]) == len(differing)


# use


def test_use_writes_the_file_keeps_the_old_one_and_says_what_changed(project: Project) -> None:
    before = (project.root / "params.yaml").read_bytes()
    lines = use_preset(project, "coco2art").splitlines()
    assert project.params() == given("coco2art")
    kept = project.root / "params.before-coco2art.yaml"
    assert kept.read_bytes() == before
    assert "model.ch: 12 -> 128" in lines
    assert "stage1.base.learning_rate: 0.002 -> 2.25e-05" in lines
    assert str(kept) in lines[-1]
    assert len(lines) == len(changes(load_params(kept).model_dump(), project.params().model_dump())) + 1
    assert sorted(path.name for path in project.root.iterdir()) == [
        "params.before-coco2art.yaml",
        "params.yaml",
        "presets",
    ]


def test_the_same_again_changes_nothing(project: Project) -> None:
    use_preset(project, "coco2art")
    content = (project.root / "params.yaml").read_bytes()
    assert "coco2art" in use_preset(project, "coco2art")
    assert (project.root / "params.yaml").read_bytes() == content
    assert not (project.root / "params.before-coco2art-2.yaml").exists()


def test_a_kept_file_is_never_overwritten(project: Project) -> None:
    use_preset(project, "coco2art")
    use_preset(project, "face2art")
    first = (project.root / "params.before-coco2art.yaml").read_bytes()
    assert str(project.root / "params.before-coco2art-2.yaml") in use_preset(project, "coco2art")
    assert (project.root / "params.before-coco2art.yaml").read_bytes() == first


def test_seed_evaluation_and_name_stay_and_the_task_does_not_depend_on_the_past(project: Project) -> None:
    edit(project, "seed: 0", "seed: 7")
    edit(project, "pairs: 48", "pairs: 500")
    edit(project, "name: quantart", "name: mine")
    edit(project, "dropout: 0.0", "dropout: 0.3")
    edit(project, "max_rejected_share: 0.05", "max_rejected_share: 0.9")
    for name in ("landscape2art_continuous", "face2art", "coco2art"):
        use_preset(project, name)
    params = project.params()
    assert (params.seed, params.evaluate.pairs, params.export.name) == (7, 500, "mine")
    expected = given("coco2art").model_dump()
    expected["seed"], expected["evaluate"]["pairs"], expected["export"]["name"] = 7, 500, "mine"
    assert params.model_dump() == expected


def test_comments_of_values_that_stay_are_kept_and_the_others_describe_their_field(project: Project) -> None:
    edit(project, "seed: 0", "seed: 0  # my lucky one")
    edit(project, "  ch: 12", "  ch: 8  # as small as it gets")
    use_preset(project, "coco2art")
    text = (project.root / "params.yaml").read_text()
    assert text.startswith("# Preset coco2art: photographs (MS-COCO) to artworks (WikiArt). ")
    assert "# my lucky one\n" in text
    assert "  ch: 128                          # channels at the first level\n" in text
    assert "ten minutes" not in text  # the shipped heading, which is true only of the shipped values
    assert max(map(len, text.splitlines())) <= 120


def test_a_file_that_cannot_be_written_is_a_sentence_and_leaves_nothing(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    assert refusal(project, "coco2art").fault.endswith("params.yaml: cannot be written: No space left on device")


# mistakes


def test_an_unknown_name_is_answered_with_similar_ones(project: Project) -> None:
    assert "'coco2arts'" in refusal(project, "coco2arts").fault
    assert "coco2art" in refusal(project, "coco2arts").remedy
    assert refusal(project, "xyz").remedy.endswith(", ".join(ALL))
    for name in ("_paper", "../params"):
        assert refusal(project, name).fault.startswith(f"no preset {name!r}")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (OWN + "model: {chh: 4}", "presets/mine.yaml: model.chh: unknown key"),
        (OWN + "stage3: {}", "presets/mine.yaml: stage3: unknown key"),
        (OWN + "stage2: {stage1_style: models/a}", "presets/mine.yaml: stage2.stage1_style: is now called stage1."),
        (OWN + "stage2: {train: {steps: 0}}", "presets/mine.yaml: stage2.train.steps = 0: "),
        (OWN + "model: 3", "presets/mine.yaml: model = 3: "),
        (OWN + "model: {ch: 100}", "presets/mine.yaml: model: ch·1 = 100"),
        (OWN + "stage2: {train: {crop: 32}}", "presets/mine.yaml: stage2.train.crop 32"),
        ("summary: mine\nextends: _paper", "presets/mine.yaml: data.content: missing"),
        ("summary: mine", "presets/mine.yaml: data: missing"),
        (OWN + "model: [1", "mine.yaml: not valid YAML: "),
        ("- a list", "mine.yaml: holds no parameters"),
        ("extends: _paper", "presets/mine.yaml: summary: missing"),
        ("summary: [1]", "presets/mine.yaml: summary = [1]: "),
        ("summary: mine\nextends: 3", "presets/mine.yaml: extends = 3: "),
        ("summary: mine\nextends: papers", "presets/mine.yaml: extends papers, but there is no presets/papers.yaml"),
        ("summary: mine\nextends: mine", "presets/mine.yaml: extends mine, "),
    ],
)
def test_a_fault_in_a_preset_names_file_and_key(project: Project, text: str, fault: str) -> None:
    write(project, text)
    assert fault in refusal(project).fault.splitlines()[0]


def test_a_preset_that_is_a_folder_is_named(project: Project) -> None:
    (project.root / "presets" / "mine.yaml").mkdir()
    assert refusal(project).fault.startswith("presets/mine.yaml: is a folder")


def test_a_fault_in_the_base_names_the_base(project: Project) -> None:
    base = project.root / "presets" / "_paper.yaml"
    base.write_text(base.read_text().replace("  n_embed: 1024", "  n_embeds: 1024"))
    assert refusal(project, "coco2art").fault.splitlines() == [
        "presets/coco2art.yaml: model.n_embed: missing",
        "presets/_paper.yaml: model.n_embeds: unknown key",
    ]


def test_without_the_folder_it_says_where_presets_come_from(project: Project) -> None:
    shutil.rmtree(project.root / "presets")
    with pytest.raises(UserError) as caught:
        presets_of(project)
    assert caught.value.fault == f"{project.root / 'presets'}: not found"
    assert "presets/" in caught.value.remedy


def test_a_broken_params_file_is_not_overwritten(project: Project) -> None:
    edit(project, "  n_embed: 1024", "  n_embeds: 1024")
    assert refusal(project, "coco2art").fault.startswith("params.yaml: model.n_embed: missing")
