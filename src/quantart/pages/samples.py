"""Pictures that a page offers to those who bring none."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from quantart.data.index import INDEX_FILE
from quantart.data.pictures import PackedPictures
from quantart.data.sources import find_pictures
from quantart.errors import UserError
from quantart.images.arrays import WRITTEN_FORMATS, resize_short_side, write_image
from quantart.images.decode import ImageError, decode_image, read_file
from quantart.project import Project
from quantart.vocabulary.names import Domain

PICTURES = Path(__file__).with_name("pictures")
SHIPPED: dict[Domain, Path] = {"content": PICTURES / "photographs", "style": PICTURES / "paintings"}
MOST: dict[Domain, int] = {"content": 8, "style": 24}
MAX_PIXELS = 50_000_000  # larger pictures are left out
AS_IT_IS = 2_000_000  # bytes, up to which a picture is shown as it is
SIDE, THUMBNAIL = 1024, 160  # pixels of the short side, at most


def sample_files(project: Project | None, domain: Domain) -> list[Path]:
    """Held-out pictures of the project, or its first ones before it is prepared; else those in this package.

    Pictures in shards are left out.
    """
    found: list[Path] = []
    if project:
        found = _project_files(project, domain)
    return found or sorted(SHIPPED[domain].glob("*.jpg"))


def _project_files(project: Project, domain: Domain) -> list[Path]:
    try:
        table, root = project.params().data.table(domain), project.source_root(domain)
        pictures = find_pictures(project.source(domain), table, root).pictures
    except UserError:  # gone since the model was trained; it paints all the same
        return []
    files = {each.name: each.path for each in pictures if each.size is None and each.fault is None}
    if (project.prepared(domain) / INDEX_FILE).is_file():
        held_out = PackedPictures(project.prepared(domain), "test").files
        files = {name: files[name] for name in held_out if name in files} or files
    return list(files.values())


class Samples:
    """Some pictures of one domain as files that every browser shows, written to `folder` when they are needed."""

    def __init__(self, files: Sequence[Path], folder: Path, most: int) -> None:
        self._folder = folder
        self._files: list[Path] = []
        self.thumbnails: list[tuple[str, str]] = []
        """File and name of each."""
        for file in files:
            if len(self._files) == most:
                break
            try:
                thumbnail = self._written(file, f"{len(self._files)}-small", THUMBNAIL)
            except ImageError:
                continue
            self._files.append(file)
            self.thumbnails.append((str(thumbnail), file.stem))

    def __len__(self) -> int:
        return len(self._files)

    def picture(self, number: int) -> str:
        """The file of one of them: itself where browsers show it, unless it is large."""
        file = self._files[number]
        if file.suffix.lower() not in WRITTEN_FORMATS or file.stat().st_size > AS_IT_IS:
            return str(self._written(file, str(number), SIDE))
        out = self._folder / str(number) / file.name
        out.parent.mkdir(parents=True, exist_ok=True)
        return str(shutil.copyfile(file, out))  # Gradio gives out nothing but what lies in its folder

    def _written(self, file: Path, folder: str, side: int) -> Path:
        out = self._folder / folder / f"{file.stem}.jpg"
        if not out.exists():
            picture = decode_image(read_file(file), max_pixels=MAX_PIXELS, least_side=side)
            out.parent.mkdir(parents=True, exist_ok=True)
            write_image(out, resize_short_side(picture, min(side, *picture.shape[:2])))
        return out
