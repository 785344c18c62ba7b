"""The stage `encode`: stored codes are exactly what encoding on the fly gives."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from torch import Tensor

from quantart.data import codes as data_codes
from quantart.data import encoding as data_encoding
from quantart.data.codes import StoredCodes
from quantart.data.pairs import name_number
from quantart.data.pictures import PackedPictures
from quantart.data.prepare import prepare_domain
from quantart.errors import UserError
from quantart.images.arrays import pixels_to_float
from quantart.machine.claim import claimed
from quantart.models.stage_1 import ExperimentStage1
from quantart.models.stage_2 import ExperimentStage2
from quantart.pipeline import encode
from quantart.project import Project

from ..defaults import from_scratch

ROOT = Path(__file__).parents[2]
COPIES, SIDE = 3, 32


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Fourteen prepared paintings, a small VQGAN with codes among its latents, and their stored codes."""
    project = Project(tmp_path_factory.mktemp("project"))
    params = from_scratch()
    params["data"] |= {"style": "paintings", "resolution": SIDE, "short_side": 40, "val_share": 0.2, "test_share": 0.2}
    params["model"] |= {"ch": 8, "ch_mult": [1, 2], "z_channels": 8, "embed_dim": 8, "n_embed": 64}
    params["stage1"]["base"]["crop"] = params["stage1"]["domain"]["crop"] = SIDE
    params["stage2"]["objective"] = "reference"
    params["stage2"]["train"]["crop"] = 16
    params["encode"] = {"copies": COPIES, "batch_size": 32}
    (project.root / "params.yaml").write_text(yaml.safe_dump(params))
    for picture in sorted((ROOT / "data" / "sample" / "paintings").glob("*.jpg"))[:14]:
        (project.root / "paintings").mkdir(exist_ok=True)
        shutil.copy(picture, project.root / "paintings")
    prepare_domain(project.source("style"), project.prepared("style"), project.params().data, domain="style")

    torch.manual_seed(0)
    model = ExperimentStage1(project.params().model.ddconfig(SIDE), 64, 8)
    with torch.no_grad():  # a codebook as good as one that learned: latents of the pictures themselves
        z = model.latents(centred(project)).permute(0, 2, 3, 1).reshape(-1, 8)
        model.quantize.embedding.weight.copy_(z[torch.linspace(0, len(z) - 1, 64).long()])
    model.save_pretrained(project.stage1_model("style"))
    encode.run(project, "style")
    return project


def pictures(project: Project) -> PackedPictures:
    return PackedPictures(project.prepared("style"), "train")


def centred(project: Project) -> Tensor:
    source = pictures(project)
    return pixels_to_float(source.centre(range(len(source)), SIDE))


@pytest.fixture
def model(project: Project) -> ExperimentStage1:
    return ExperimentStage1.from_pretrained(project.stage1_model("style"))


@pytest.fixture
def stored(project: Project) -> StoredCodes:
    return StoredCodes(project.codes("style"))


def test_stored_codes_equal_codes_encoded_on_the_fly_bit_for_bit(
    project: Project, model: ExperimentStage1, stored: StoredCodes
) -> None:
    rows = np.arange(stored.pictures)
    with torch.inference_mode():
        quantized, latents = model.encode(centred(project)), model.latents(centred(project))
    assert len(quantized.indices.unique()) > 32
    assert torch.equal(stored.codes(rows), quantized.indices)
    assert torch.equal(stored.latents(rows), latents.half().float())


def test_looked_up_they_are_what_the_transfer_would_have_been_given(
    project: Project, model: ExperimentStage1, stored: StoredCodes
) -> None:
    transfer = ExperimentStage2.from_stage1(model, model, block_num=1)
    with torch.inference_mode():
        on_the_fly = transfer.style_latents(centred(project))
        looked_up = transfer.quantize_dec.lookup(stored.codes(np.arange(stored.pictures)))
    torch.testing.assert_close(looked_up, on_the_fly, rtol=0, atol=1e-6)  # z + (e - z) rounds, e does not


def test_the_other_copies_are_crops_and_flips_of_the_same_pictures(
    project: Project, model: ExperimentStage1, stored: StoredCodes
) -> None:
    source = pictures(project)
    assert len(stored) == COPIES * len(source)
    for copy in range(1, COPIES):
        draws = np.random.default_rng([project.params().seed, copy]).random((len(source), 3))
        crops = source.crops(range(len(source)), SIDE, draws)
        with torch.inference_mode():
            codes = model.encode(pixels_to_float(crops)).indices
        rows = copy * len(source) + np.arange(len(source))
        assert torch.equal(stored.codes(rows), codes)
        assert not torch.equal(codes, stored.codes(np.arange(len(source))))


def test_the_index_names_the_data(project: Project) -> None:
    index = json.loads((project.codes("style") / "index.json").read_text())
    assert index["pictures"]["train"] == pictures(project).digest
    assert (index["copies"], index["resolution"], index["paired"]) == (COPIES, SIDE, False)


def test_the_objective_painting_has_nothing_to_encode_which_is_said(
    project: Project, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = Project(shutil.copytree(project.root, tmp_path / "other"))
    params = yaml.safe_load((other.root / "params.yaml").read_text())
    params["stage2"] |= {"objective": "painting", "train": params["stage2"]["train"] | {"crop": 32}}
    params["data"] |= {"resolution": 64, "short_side": 64}
    (other.root / "params.yaml").write_text(yaml.safe_dump(params))
    with caplog.at_level("INFO"):
        encode.run(other, "style")
    assert "stage2.objective" in caplog.text
    assert [path.name for path in other.codes("style").iterdir()] == ["index.json"]
    index = json.loads((other.codes("style") / "index.json").read_text())
    assert (index["copies"], index["pictures"]["train"]) == (0, pictures(project).digest)
    with pytest.raises(UserError) as error:
        StoredCodes(other.codes("style"))
    assert "quantart encode" in (error.value.remedy or "")


def test_again_gives_the_same_files(project: Project) -> None:
    folder = project.codes("style")
    before = contents(folder)
    encode.run(project, "style")
    assert contents(folder) == before


def test_the_size_of_the_batches_does_not_move_rows(project: Project, stored: StoredCodes, tmp_path: Path) -> None:
    other = Project(shutil.copytree(project.root, tmp_path / "other"))
    params = yaml.safe_load((other.root / "params.yaml").read_text())
    params["encode"]["batch_size"] = 4
    (other.root / "params.yaml").write_text(yaml.safe_dump(params))
    encode.run(other, "style")
    rows = np.arange(len(stored))
    same = StoredCodes(other.codes("style")).codes(rows) == stored.codes(rows)
    assert same.double().mean() > 0.99  # convolutions of other batches may round near-ties otherwise


def test_pictures_of_several_shards_have_the_rows_that_one_would_have(
    project: Project, stored: StoredCodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Project(shutil.copytree(project.root, tmp_path / "other"))
    rows = np.arange(len(stored))
    codes, latents = stored.codes(rows), stored.latents(rows)
    for module in (data_codes, data_encoding):
        monkeypatch.setattr(module, "SHARD", 3)
    encode.run(other, "style")
    split = StoredCodes(other.codes("style"))
    assert len(list(other.codes("style").glob("shard-*"))) == COPIES * -(-stored.pictures // 3) > COPIES
    assert (split.codes(rows) == codes).double().mean() > 0.99  # as above
    torch.testing.assert_close(split.latents(rows), latents, rtol=1e-2, atol=1e-2)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def command(project: Project) -> subprocess.Popen[str]:
    path = os.pathsep.join(map(str, [ROOT / "src", ROOT / "cli"]))
    return subprocess.Popen(
        [sys.executable, "-m", "quantart_cli", "encode", "--domain", "style"],
        cwd=project.root,
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
def test_killed_it_goes_on_and_gives_the_same_bytes(project: Project, tmp_path: Path) -> None:
    other = Project(shutil.copytree(project.root, tmp_path / "other"))
    change(other, encode={"copies": 40, "batch_size": 1})
    codes = other.codes("style")
    shutil.rmtree(codes)
    first = command(other)
    assert first.stderr is not None
    while not (line := first.stderr.readline()).startswith("encode style: 4 of 40"):
        assert line
    first.kill()
    assert first.wait(60) == -signal.SIGKILL
    assert not codes.exists()
    made = {path.name: path.stat().st_ino for path in codes.parent.glob(".style.partial/*/shard-*.arrow")}
    assert 4 <= len(made) < 40

    _, said = command(other).communicate(timeout=300)
    assert f"goes on where it was stopped; {len(made)} shards" in said
    assert [path.name for path in codes.parent.iterdir()] == ["style"]
    assert {name: (codes / name).stat().st_ino for name in made} == made
    resumed = contents(codes)
    assert len(resumed) == 40 + 1
    assert command(other).wait(300) == 0
    assert contents(codes) == resumed


def change(project: Project, **sections: dict[str, Any]) -> None:
    params = yaml.safe_load((project.root / "params.yaml").read_text())
    for section, values in sections.items():
        params[section] |= values
    (project.root / "params.yaml").write_text(yaml.safe_dump(params))


def other_seed(project: Project) -> None:
    params = yaml.safe_load((project.root / "params.yaml").read_text())
    (project.root / "params.yaml").write_text(yaml.safe_dump(params | {"seed": 7}))


def other_network(project: Project) -> None:
    model = ExperimentStage1.from_pretrained(project.stage1_model("style"))
    with torch.no_grad():
        model.quantize.embedding.weight.mul_(0.5)
    shutil.rmtree(project.stage1_model("style"))
    model.save_pretrained(project.stage1_model("style"))


def other_pictures(project: Project) -> None:
    prepare_domain(project.source("style"), project.prepared("style"), project.params().data, domain="style")


def nothing(project: Project) -> None: ...


@pytest.mark.parametrize(
    ("changed", "taken_over"), [(nothing, 1), (other_seed, 0), (other_network, 0), (other_pictures, 0)]
)
def test_what_was_written_is_taken_over_only_if_it_would_be_the_same(
    changed: Callable[[Project], None],
    taken_over: int,
    project: Project,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    other = Project(shutil.copytree(project.root, tmp_path / "other"))
    write, made = data_encoding.write_codes, []

    def interrupted(folder: Path, number: int, *rest: Any) -> None:
        if number:
            raise KeyboardInterrupt
        write(folder, number, *rest)
        made.append((folder / "shard-00000.arrow").stat().st_ino)
        (folder / ".shard-1-elsewhere-7").write_bytes(b"half of it")
        (folder / "shard-00002.arrow").write_bytes(b"ARROW1")  # as a broken disk leaves it

    monkeypatch.setattr(data_encoding, "write_codes", interrupted)
    with pytest.raises(KeyboardInterrupt):
        encode.run(other, "style")
    assert contents(other.codes("style")) == contents(project.codes("style"))  # the earlier codes are there still
    monkeypatch.setattr(data_encoding, "write_codes", write)
    changed(other)
    encode.run(other, "style")
    assert len({(other.codes("style") / "shard-00000.arrow").stat().st_ino} & set(made)) == taken_over
    assert sorted(contents(other.codes("style"))) == sorted(contents(project.codes("style")))
    assert (contents(other.codes("style")) == contents(project.codes("style"))) is (
        changed in (nothing, other_pictures)
    )
    assert [path.name for path in other.codes("style").parent.iterdir()] == ["style"]


def test_two_commands_at_once_are_refused(project: Project) -> None:
    folder = project.codes("style")
    before = contents(folder)
    with claimed(folder.with_name(".style.encoding")), pytest.raises(UserError, match="another command encodes"):
        encode.run(project, "style")
    assert contents(folder) == before


def test_without_a_model_or_pictures_it_is_a_sentence(project: Project) -> None:
    with pytest.raises(UserError, match="stage1_content"):
        encode.run(project, "content")


def test_paired_a_picture_is_cropped_by_its_name_alone(project: Project, tmp_path: Path) -> None:
    other = Project(shutil.copytree(project.root, tmp_path / "other"))
    params = yaml.safe_load((other.root / "params.yaml").read_text())
    params["data"]["paired"] = True
    (other.root / "params.yaml").write_text(yaml.safe_dump(params))
    encode.run(other, "style")
    source, whole = pictures(other), StoredCodes(other.codes("style"))
    model = ExperimentStage1.from_pretrained(other.stage1_model("style"))
    assert whole.index["paired"] is True
    for place, file in enumerate(source.files):
        draws = np.random.default_rng([project.params().seed, 1, name_number(f"{Path(file).stem}.png")]).random((1, 3))
        with torch.inference_mode():
            codes = model.encode(pixels_to_float(source.crops([place], SIDE, draws))).indices
        assert (whole.codes(np.array([len(source) + place])) == codes).double().mean() > 0.99
