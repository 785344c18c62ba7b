"""The command line as a user meets it."""

from __future__ import annotations

import importlib
import pickle
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import typer
import yaml
from PIL import Image, ImageCms
from typer.testing import CliRunner

import quantart
from quantart.errors import StoppedBySignal
from quantart.models.stage_1 import ExperimentStage1
from quantart.models.stage_2 import ExperimentStage2
from quantart_cli.__main__ import main
from quantart_cli.app import app

from ..models.networks import PAINTER, small_stage_1
from ..unprivileged import open_folder, without_privileges

ROOT = Path(__file__).parents[2]
PHOTO = ROOT / "data" / "sample" / "photos" / "kitten_on_lawn.jpg"
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
READING_PARAMS = [
    "prepare --domain content",
    "pair",
    "train stage1 --domain base",
    "train stage2 --variant discrete",
    "encode --domain style",
    "evaluate",
    "export",
    f"stylize {PHOTO} --style {PHOTO} --out out.png",
    "import-checkpoint ref.ckpt models/ref",
]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: a project with nothing but the shipped parameters."""
    for name in ("QUANTART_PROJECT", "ACCELERATE_NUM_PROCESSES"):
        monkeypatch.delenv(name, raising=False)
    shutil.copy(ROOT / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def help_of(*command: str) -> str:
    result = CliRunner().invoke(app, [*command, "--help"], env={"COLUMNS": "160", "TERM": "dumb"})
    assert result.exit_code == 0, result.output
    return result.output


def leaves(group: typer.core.TyperGroup, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, command in group.commands.items():
        if isinstance(command, typer.core.TyperGroup):
            yield from leaves(command, (*path, name))
        else:
            yield (*path, name)


def root_group() -> typer.core.TyperGroup:
    group = typer.main.get_command(app)
    assert isinstance(group, typer.core.TyperGroup)
    return group


def mistake(command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    """What a command that must fail as a user's mistake says."""
    monkeypatch.setattr(sys, "argv", ["quantart", *shlex.split(command)])
    with pytest.raises(SystemExit) as stopped:
        main()
    out, err = capsys.readouterr()
    assert stopped.value.code == 2, err
    assert "Traceback" not in out + err
    assert out == ""
    return err


def test_help_reads_like_a_table_of_contents() -> None:
    listed = re.findall(r"^│ (\w[\w-]*) ", help_of(), flags=re.MULTILINE)
    stages = [stage.split("_")[0].rstrip("12").replace("stage", "train") for stage in STAGES]
    assert [command for command in listed if command in stages] == [
        each for each in dict.fromkeys(stages) if each in listed
    ]
    assert {"doctor", "prepare", "train", "compare", "stylize", "serve", "sync"} < set(listed)
    assert re.findall(r"^│ (\w+) ", help_of("train"), flags=re.MULTILINE) == ["stage1", "stage2"]
    assert re.findall(r"^│ (\w+) ", help_of("preset"), flags=re.MULTILINE) == ["list", "show", "use"]
    registry = ["list", "show", "promote", "rollback"]
    assert re.findall(r"^│ (\w+) ", help_of("registry"), flags=re.MULTILINE) == registry


def test_presets_are_listed_shown_and_used(project: Path) -> None:
    shutil.copytree(ROOT / "presets", project / "presets")

    def said(command: str) -> str:
        result = CliRunner().invoke(app, shlex.split(command), env={"COLUMNS": "80"})
        assert result.exit_code == 0, result.output
        return result.output

    listed = said("preset list").splitlines()
    assert len(listed) == len([*(ROOT / "presets").glob("[!_]*.yaml")]) + 1
    assert max(map(len, listed)) <= 80
    assert "coco2art                  photographs (MS-COCO) to artworks (WikiArt)" in map(str.rstrip, listed)
    assert "  ch: 128                          # now 32\n" in said("preset show coco2art")
    assert "model.ch: 32 -> 128\n" in said("preset use coco2art")
    assert "  ch: 128 " in (project / "params.yaml").read_text()
    assert said("preset use coco2art").startswith("nothing changed: ")


def test_a_preset_that_is_none_is_a_sentence(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "presets: not found; " in mistake("preset list", monkeypatch, capsys)
    shutil.copytree(ROOT / "presets", project / "presets")
    for command in ("use", "show"):
        said = mistake(f"preset {command} face2arts", monkeypatch, capsys)
        assert said.startswith("error: no preset 'face2arts'; did you mean face2art")


def test_every_registered_command_is_listed() -> None:
    group = root_group()
    assert set(group.list_commands(typer.Context(group))) == set(group.commands)


@pytest.mark.parametrize("path", sorted(leaves(root_group())), ids=" ".join)
def test_every_commands_help_has_an_example_that_can_be_typed(path: tuple[str, ...]) -> None:
    (example,) = re.findall(r"Example: quantart (.*?)\s*│?$", help_of(*path), flags=re.MULTILINE)
    words = shlex.split(example)
    assert tuple(words[: len(path)]) == path
    command: typer.core.TyperCommand | typer.core.TyperGroup = root_group()
    for name in path:
        assert isinstance(command, typer.core.TyperGroup)
        command = command.commands[name]  # type: ignore[assignment]
    command.make_context(path[-1], words[len(path) :])  # parses, runs nothing


def test_the_console_script_prints_the_version(tmp_path: Path) -> None:
    script = Path(sys.executable).with_name("quantart")
    result = subprocess.run([script, "--version"], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert (result.returncode, result.stdout, result.stderr) == (0, f"quantart {quantart.__version__}\n", "")


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['quantart', '--help']\n"
        "from quantart_cli.__main__ import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print([m for m in ('torch', 'mlflow', 'dvc', 'accelerate', 'numpy', 'pandas') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert result.stdout.splitlines()[-1] == "[]"


@pytest.mark.slow
def test_the_summary_does_not_import_torch() -> None:
    code = "import sys, quantart.pipeline.summary; print('torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert result.stdout == "False\n"


def test_a_mistake_in_a_real_process_is_a_sentence_and_exit_code_2(project: Path) -> None:
    (project / "params.yaml").write_text("seed: 0\ndata: photos\n")
    command = [sys.executable, "-m", "quantart_cli", "prepare", "--domain", "content"]
    result = subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=120)
    assert (result.returncode, result.stdout) == (2, "")
    assert all(line.startswith("error: params.yaml: ") for line in result.stderr.splitlines())


@pytest.mark.parametrize("command", READING_PARAMS)
def test_a_fault_in_the_parameters_stops_every_command_before_any_work(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    path = project / "params.yaml"
    path.write_text(path.read_text().replace("  n_embed: ", "  n_embedd: "))
    said = mistake(command, monkeypatch, capsys).splitlines()
    assert said == ["error: params.yaml: model.n_embed: missing", "error: params.yaml: model.n_embedd: unknown key"]
    assert [file.name for file in project.iterdir()] == ["params.yaml"]


@pytest.mark.parametrize("command", [command for command in READING_PARAMS if not command.startswith(("sty", "imp"))])
def test_a_project_that_can_not_be_written_stops_every_stage_before_any_work(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    monkeypatch.delenv("ACCELERATE_NUM_PROCESSES", raising=False)
    with open_folder() as root:
        shutil.copy(ROOT / "params.yaml", root)
        root.chmod(0o555)
        monkeypatch.setenv("QUANTART_PROJECT", str(root))
        monkeypatch.setenv("HF_HOME", str(root))  # where Accelerate's configuration is looked for
        # before: nobody may not read every interpreter's modules
        for module in ("prepare", "pair", "stage1", "stage2", "encode", "evaluate", "export"):
            importlib.import_module(f"quantart.pipeline.{module}")
        with without_privileges():
            said = mistake(command, monkeypatch, capsys)
    assert said.startswith(f"error: {root}: no file can be made in it (Permission denied); make it writable")


def test_a_gpu_that_is_not_here_stops_before_any_work(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "99")
    monkeypatch.delenv("ACCELERATE_USE_CPU", raising=False)
    said = mistake("encode --domain style", monkeypatch, capsys)
    assert said.startswith("error: CUDA_VISIBLE_DEVICES=99: there is no GPU 99 here")
    assert [file.name for file in project.iterdir()] == ["params.yaml"]


def test_outside_of_a_project_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("QUANTART_PROJECT", raising=False)
    monkeypatch.chdir(tmp_path)
    said = mistake("encode --domain style", monkeypatch, capsys)
    there = f"error: {tmp_path}: no params.yaml here or in a folder above; "
    assert said == f"{there}go to a QuantArt project, or make one: `quantart init FOLDER`\n"


def test_a_domain_with_no_picture_is_named(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "data" / "sample" / "photos").mkdir(parents=True)
    for domain, folder in (("content", "photos"), ("style", "paintings")):
        said = mistake(f"prepare --domain {domain}", monkeypatch, capsys)
        assert said.startswith(f"error: data.{domain}: ")
        assert f"data/sample/{folder}" in said
        assert len(said.splitlines()) == 1
    assert not (project / "data" / "prepared").exists()


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        ("prepare --domain musc", "'musc' is not"),
        ("train stage3", "No such command 'stage3'"),
        ("stylize photo.jpg", "Missing option"),
        ("ui --port 70000", "less than or equal to 65535"),
    ],
)
def test_a_word_typed_wrong_is_explained(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str, sentence: str
) -> None:
    assert sentence in " ".join(mistake(command, monkeypatch, capsys).replace("│", " ").split())


def test_stylize_says_what_is_wrong_with_its_files(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "there.png").touch()

    def said(photo: object = PHOTO, style: object = PHOTO, out: str = "out.png", model: str = "models") -> str:
        command = f"stylize {photo} --style {style} --out {out} --model {model}"
        return mistake(command, monkeypatch, capsys).removeprefix("error: ")

    ways = "give --skip-existing to go on, --force to overwrite, or another --out"
    assert said(out="there.png") == f"there.png: exists already; {ways}\n"
    assert said(out="no/out.png") == "no/out.png: the folder no does not exist\n"
    assert said(photo="missing.jpg").startswith("missing.jpg: ")
    assert said(style="nothing/*.jpg").startswith("nothing/*.jpg: no picture there")
    assert said(out=f"out.png {PHOTO.with_name('otters.jpg')}").startswith("--out out.png: one file's name, for 2 pict")
    assert said(model="models --model also").startswith("models: holds no model")
    twice = "quantart/open --model quantart/open"  # both variants each
    assert said(model=twice).startswith("--model quantart/open, quantart/open: 4 networks; ")
    fetch = "`hf download OWNER/NAME --local-dir FOLDER` fetches one from the hub"
    assert said() == f"models: holds no model; a model's folder has config.json and model.safetensors; {fetch}\n"
    assert not (project / "out.png").exists()


@pytest.mark.parametrize(
    ("words", "contents", "styles"),
    [
        ("a b --style x y --out o", ["a", "b"], ["x", "y"]),
        ("a --style x --size 64 --style y z", ["a"], ["x", "y", "z"]),
        ("--size 64 a --style x y --out o", ["a"], ["x", "y"]),
        ("--style x y --size 64 a b", ["a", "b"], ["x", "y"]),
        ("--style=x a b", ["a", "b"], ["x"]),
        ("a --style x y -- b", ["a", "b"], ["x", "y"]),
    ],
)
def test_several_styles_may_follow_their_option(
    project: Path, monkeypatch: pytest.MonkeyPatch, words: str, contents: list[str], styles: list[str]
) -> None:
    given: list[list[str]] = []

    def plan(*arguments: list[str], **_: object) -> None:
        given.extend(arguments[:2])
        raise typer.Exit

    monkeypatch.setattr("quantart.stylize.plan.make_plan", plan)
    assert CliRunner().invoke(app, ["stylize", *shlex.split(words)]).exit_code == 0
    assert given == [contents, styles]


def test_stylize_paints_what_it_can_and_ends_with_1_where_it_could_not_all(project: Path) -> None:
    torch.manual_seed(0)
    ExperimentStage2(PAINTER, n_embed=16, embed_dim=8, block_num=1).save_pretrained(project / "tiny")
    (project / "broken.jpg").write_text("no picture")
    profile = (project / "wide.jpg", ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes())
    Image.open(PHOTO).save(profile[0], icc_profile=profile[1])  # of another colour space: ignored
    words = f"stylize {PHOTO} broken.jpg wide.jpg --style {PHOTO} --model tiny --size 48"
    result = CliRunner().invoke(app, shlex.split(words))
    assert result.exit_code == 1, result.output
    assert result.stdout == "2 pictures in stylized\n"
    assert "skipped broken.jpg: not a JPEG, PNG" in result.stderr
    painted = [f"{name}_kitten_on_lawn.png" for name in ("kitten_on_lawn", "wide")]
    assert sorted(path.name for path in (project / "stylized").iterdir()) == painted
    words = f"stylize {PHOTO} --style {PHOTO} --model tiny --size 48 --out one.png"
    result = CliRunner().invoke(app, shlex.split(words))
    assert (result.exit_code, result.stdout) == (0, "one.png\n")
    assert Image.open(project / "one.png").size == (48, 33)


def test_before_anything_was_trained_the_model_that_comes_with_the_package_paints(project: Path) -> None:
    result = CliRunner().invoke(app, ["stylize", str(PHOTO), "--style", str(PHOTO), "--out", "out.png", "--size", "64"])
    assert result.exit_code == 0, result.output
    assert "out.png" in result.stdout
    with Image.open(project / "out.png") as painted:
        assert max(painted.size) == 64


@pytest.mark.parametrize("words", [[], ["--model", "quantart/open"]])
def test_the_model_that_comes_with_the_package_is_served_without_a_project(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served: list[str] = []
    monkeypatch.setattr("quantart.serving.server.serve", lambda address, *_, **__: served.append(address))
    monkeypatch.chdir(tmp_path)
    assert CliRunner().invoke(app, ["serve", *words]).exit_code == 0
    assert served == ["quantart/open"]
    assert not list(tmp_path.iterdir())


def test_a_checkpoint_that_cannot_be_imported_is_a_sentence_and_leaves_nothing(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "ref.ckpt").write_bytes(pickle.dumps(print, 2))
    said = mistake("import-checkpoint ref.ckpt models/ref --resolution 256", monkeypatch, capsys)
    assert said.startswith("error: ref.ckpt: refused, ")
    assert "would run builtins.print" in said
    said = mistake("import-checkpoint ref.ckpt models/ref --config no.yaml", monkeypatch, capsys)
    assert said.startswith("error: no.yaml: cannot be read")
    assert "No such file" in mistake("import-checkpoint no.ckpt models/ref", monkeypatch, capsys)
    assert sorted(file.name for file in project.iterdir()) == ["params.yaml", "ref.ckpt"]


def test_the_network_and_the_averages_that_are_asked_for_are_imported_and_the_rest_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    states = [small_stage_1(seed).state_dict() for seed in range(3)]
    named = [{f"{name}.{key}": value for key, value in states[seed].items()} for seed, name in enumerate(("a", "b"))]
    torch.save({"state_dict": named[0] | named[1]}, "two.ckpt")
    torch.save({"state_dict": states[0], "ema": states[2]}, "averaged.ckpt")
    words = {"averaged.ckpt plain": 0, "two.ckpt second --prefix b": 1, "averaged.ckpt mean --ema": 2}
    for command, seed in words.items():
        arguments = ["import-checkpoint", *command.split()]
        assert CliRunner().invoke(app, arguments).exit_code == 0
        model = ExperimentStage1.from_pretrained(arguments[2])
        assert torch.equal(model.quantize.embedding.weight, states[seed]["quantize.embedding.weight"]), command
    assert f"left out: {len(states[2])} tensors of the moving averages of the weights, which --ema" in caplog.text
    assert f"left out: {len(states[0])} tensors of the rest of the file" in caplog.text


def test_work_stopped_by_a_signal_ends_with_its_code(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped(*_: object) -> None:
        raise StoppedBySignal(signal.SIGTERM, "after step 7")

    monkeypatch.setattr("quantart.pipeline.encode.run", stopped)
    monkeypatch.setattr(sys, "argv", ["quantart", "encode", "--domain", "style"])
    with pytest.raises(SystemExit) as exit_:
        main()
    assert exit_.value.code == 143
    assert capsys.readouterr().err == "stopped by SIGTERM: after step 7\n"
