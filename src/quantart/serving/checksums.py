"""`SHA256SUMS` in a packaged model: what its networks were when it was packaged, in the format of `sha256sum`.

It shows weights that were damaged, cut short or exchanged. It does not by itself stop somebody who may write the whole
folder, who could change it too; for that its own checksum stands in the registry, as the version's tag `sha256`.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from quantart.errors import UserError
from quantart.models.pretrained import file_sha256

SUMS = "SHA256SUMS"
SHA256_TAG = "sha256"


def write_checksums(networks: Iterable[Path], file: Path) -> None:
    """List the files of the networks' folders by `<folder's name>/<file>`; `sha256sum -c` reads it in the model."""
    file.write_text("".join(f"{digest}  {name}\n" for name, digest in _digests(networks).items()), encoding="utf8")


def check_networks(networks: Iterable[Path], file: Path) -> None:
    """See that the networks' folders hold just what `file` lists.

    Raises:
        UserError: a file differs, is missing or is not listed, or there is no list.
    """
    try:
        lines = file.read_text(encoding="utf8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file}: cannot be read ({error}); the model is not loaded without its checksums") from None
    listed = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    found = _digests(networks)
    for name in sorted(listed.keys() | found.keys()):
        if listed.get(name) != found.get(name):
            fault = "is missing" if name not in found else "is not listed" if name not in listed else "was changed"
            raise UserError(f"{name} {fault}: the model is not what {file} says; get it anew from where it was made")


def _digests(networks: Iterable[Path]) -> dict[str, str]:
    files = [(folder, file) for folder in networks for file in sorted(folder.rglob("*")) if file.is_file()]
    return {f"{folder.name}/{file.relative_to(folder).as_posix()}": file_sha256(file) for folder, file in files}
