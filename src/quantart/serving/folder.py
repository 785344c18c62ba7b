"""What a packaged model's folder says of itself: the checksums of its networks and its version.

`SHA256SUMS`, in the format of `sha256sum`, shows weights that were damaged, cut short or exchanged. It does not stop
somebody who may write the whole folder and so could change the list too. For that, the list's own checksum is kept in
the registry, as the version's tag `sha256`.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from tempfile import mkdtemp
from urllib.parse import unquote

import yaml
from mlflow.models import Model
from mlflow.models.model import MLMODEL_FILE_NAME
from mlflow.store.artifact.models_artifact_repo import REGISTERED_MODEL_META_FILE_NAME

from quantart.errors import UserError
from quantart.models.folder import file_sha256

SUMS = "SHA256SUMS"
SHA256_TAG = "sha256"


def write_checksums(networks: Iterable[Path], file: Path) -> None:
    """List the files of the networks' folders as `<folder's name>/<file>`, so that `sha256sum -c` checks the model."""
    file.write_text("".join(f"{digest}  {name}\n" for name, digest in _digests(networks).items()), encoding="utf8")


def check_networks(networks: Iterable[Path], file: Path) -> None:
    """Check that the networks' folders hold exactly what `file` lists.

    Raises:
        UserError: a file differs, is missing or is not listed, or there is no list.
    """
    try:
        lines = file.read_text(encoding="utf8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file}: cannot be read ({error})", "the model is not loaded without its checksums") from None
    listed = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    found = _digests(networks)
    for name in sorted(listed.keys() | found.keys()):
        if listed.get(name) != found.get(name):
            fault = "is missing" if name not in found else "is not listed" if name not in listed else "was changed"
            raise UserError(f"{name} {fault}: the model is not what {file} says", "get it again from where it was made")


def loadable(folder: Path) -> Path:
    """The folder, or a copy under a name that MLflow can load: in a path it reads `50%20off` as `50 off`."""
    if unquote(str(folder)) == str(folder):
        return folder
    return Path(shutil.copytree(folder, Path(mkdtemp(), "model")))


def served_version(folder: Path) -> str:
    """The version number of the model in `folder`, else its id in the store (`m-…`), else `unregistered`.

    A model is packaged before it has a number. MLflow writes the number beside `MLmodel` whenever it fetches a version
    by its registry address or an alias, to load it, serve it or put it into an image.
    """
    meta = folder / REGISTERED_MODEL_META_FILE_NAME
    if meta.is_file():
        return str(yaml.safe_load(meta.read_text(encoding="utf8"))["model_version"])
    model_id = Model.load(folder).model_id if (folder / MLMODEL_FILE_NAME).is_file() else None
    return model_id or "unregistered"


def _digests(networks: Iterable[Path]) -> dict[str, str]:
    files = [(folder, file) for folder in networks for file in sorted(folder.rglob("*")) if file.is_file()]
    return {f"{folder.name}/{file.relative_to(folder).as_posix()}": file_sha256(file) for folder, file in files}
