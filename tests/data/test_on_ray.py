"""Preparing on a Ray cluster: a real one, in a network and with processes of its own."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from quantart.data.files import PictureFile
from quantart.data.packing import Geometry, write_shards
from quantart.data.prepare import prepare_domain
from quantart.errors import UserError
from quantart.params.data import DataParams

from ..ray_cluster import ray_exists, run_beside_ray

PARAMS = DataParams.model_validate(
    {"content": "-", "style": "-", "resolution": 128, "short_side": 128, "max_rejected_share": 0.1}
)
PREPARE = """
import sys
from pathlib import Path
from quantart.data.prepare import prepare_domain
from tests.data.test_on_ray import PARAMS

prepare_domain(Path(sys.argv[1]), Path(sys.argv[2]), PARAMS, domain="content", ray="127.0.0.1:6399")
"""
KILL = """
import psutil
from quantart.data import on_ray

def kill_one(waiting, wait=on_ray.ray.wait, killed=[]):
    done, waiting = wait(waiting)
    if not killed:
        killed += [each for each in psutil.process_iter() if "ray::_write" in each.name() + "".join(each.cmdline())]
        killed[0].kill()
        print("killed", killed[0].pid)
    return done, waiting

on_ray.ray.wait = kill_one
"""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five shards of noise, of which two files are the same and one is bad."""
    folder = tmp_path_factory.mktemp("source")
    draw = np.random.default_rng(0)
    for i in range(600):
        Image.fromarray(draw.integers(0, 256, (150, 200, 3), dtype=np.uint8)).save(folder / f"{i:03}.png")
    (folder / "333.png").write_bytes(b"x")
    (folder / "555.png").write_bytes((folder / "111.png").read_bytes())
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.mark.faults
@pytest.mark.skipif(not ray_exists(), reason="needs Ray and namespaces")
def test_any_number_of_workers_writes_the_bytes_of_one_process_also_when_one_is_killed(source, tmp_path):
    report = prepare_domain(source, tmp_path / "one", PARAMS, domain="content", workers=1)
    assert (report.kept, len(report.duplicates), len(report.rejected)) == (598, 1, 1)
    for script, workers in ((PREPARE, 1), (PREPARE, 2), (PREPARE, 4), (KILL + PREPARE, 2)):
        out = tmp_path / "ray"
        said = run_beside_ray(script, str(source), str(out), workers=workers)
        assert ("killed" in said) is (script is not PREPARE)
        assert contents(out) == contents(tmp_path / "one")
        assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "ray"]


@pytest.mark.skipif(not find_spec("ray"), reason="needs Ray")
def test_a_machine_that_does_not_see_the_pictures_is_named(tmp_path):
    from quantart.data.on_ray import _write

    with pytest.raises(FileNotFoundError, match=r"does not see .*a\.jpg: all machines must share"):
        _write(lambda number, part: 1, 0, [], tmp_path / "a.jpg")


@pytest.mark.skipif(not find_spec("ray"), reason="needs Ray")
@pytest.mark.parametrize("address", ["127.0.0.1:1", "nonsense"])
def test_where_no_cluster_answers_a_sentence_says_so(address, tmp_path):
    file = PictureFile("a", tmp_path / "a")
    with pytest.raises(UserError, match=f"^--ray {address}: .*; start a cluster with `ray start --head`"):
        list(write_shards([file], Geometry(8, 2.0, 100), tmp_path, ray=address))


def test_without_ray_a_sentence_says_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, "quantart.data.on_ray", raising=False)
    with pytest.raises(UserError, match=r"^ray: not installed; .*quantart\[ray\]"):
        list(write_shards([PictureFile("a", tmp_path / "a")], Geometry(8, 2.0, 100), tmp_path, ray="auto"))
