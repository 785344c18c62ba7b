import shutil
import subprocess
from pathlib import Path

import pytest

from quantart.errors import UserError
from quantart.serving.folder import SUMS, check_networks, write_checksums


@pytest.fixture
def networks(tmp_path: Path) -> list[Path]:
    for variant in ("discrete", "continuous"):
        (tmp_path / variant).mkdir()
        for name in ("config.json", "model.safetensors"):
            (tmp_path / variant / name).write_text(f"{name} of {variant}")
    return [tmp_path / "discrete", tmp_path / "continuous"]


def test_the_list_is_one_that_sha256sum_checks(networks: list[Path], tmp_path: Path) -> None:
    write_checksums(networks, tmp_path / SUMS)
    check_networks(networks, tmp_path / SUMS)
    assert len((tmp_path / SUMS).read_text().splitlines()) == 4
    if shutil.which("sha256sum"):
        subprocess.run(["sha256sum", "--check", "--strict", SUMS], cwd=tmp_path, check=True, capture_output=True)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda folder: (folder / "config.json").write_text("{}"), "discrete/config.json was changed"),
        (lambda folder: (folder / "model.safetensors").unlink(), "discrete/model.safetensors is missing"),
        (lambda folder: (folder / "more.py").write_text(""), "discrete/more.py is not listed"),
        (
            lambda folder: (folder.parent / SUMS).unlink(),
            "SHA256SUMS: cannot be read .*not loaded without its checksums",
        ),
        (lambda folder: (folder.parent / SUMS).write_bytes(b"\xff"), "SHA256SUMS: cannot be read"),
        (lambda folder: (folder.parent / SUMS).write_text(""), "config.json is not listed"),
    ],
)
def test_whatever_differs_from_the_list_is_refused(
    change: object, said: str, networks: list[Path], tmp_path: Path
) -> None:
    write_checksums(networks, tmp_path / SUMS)
    change(networks[0])  # type: ignore[operator]
    with pytest.raises(UserError, match=said):
        check_networks(networks, tmp_path / SUMS)
