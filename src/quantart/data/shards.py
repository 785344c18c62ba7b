"""Pictures inside tar files: their offsets and sizes. Nothing is unpacked to disk."""

from __future__ import annotations

import posixpath
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath

from quantart.data.files import PictureFile, inside, table_name
from quantart.errors import UserError
from quantart.images.kinds import HEAD, counts_as_picture
from quantart.vocabulary.pictures import is_picture

COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst", ".tar.lz4")
_MAGIC = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd", b"\x04\x22\x4d\x18")


def refuse_compressed(path: Path) -> None:
    """Raise UserError for the name of a compressed tar: no picture in it can be read without unpacking it all."""
    if path.name.lower().endswith(COMPRESSED):
        raise UserError(f"{path}: a compressed tar", "unpack it into a folder, or decompress it to a plain .tar")


def shard_pictures(path: Path, passed_over: list[str], prefix: str = "") -> Iterator[PictureFile]:
    """The members of a tar that are pictures (`counts_as_picture`), in their order; their names get the `prefix`.

    Hidden members are skipped, as in folders; the names of other files are added to `passed_over`. Links to members are
    followed, and come last. Other links, devices, sparse files and names that lead out of the archive are yielded with
    their fault. UserError where the tar can't be read, is compressed or damaged.
    """
    pictures: dict[str, PictureFile] = {}
    links: list[tarfile.TarInfo] = []
    try:
        if not path.is_file():
            raise UserError(f"{path}: no regular file", "give a plain .tar")
        length = path.stat().st_size
        with path.open("rb") as file:
            if file.read(6).startswith(_MAGIC):
                raise UserError(f"{path}: compressed in spite of its name", "decompress it to a plain .tar")
        with path.open("rb") as file, path.open("rb") as beside, tarfile.open(fileobj=file, mode="r:") as archive:
            while (member := archive.next()) is not None:
                archive.members = []  # type: ignore[attr-defined]  # it would keep them all
                if member.isdir() or _is_hidden(member.name):
                    continue
                if member.issym() or member.islnk():
                    links.append(member)
                    continue
                beside.seek(member.offset_data)
                if counts_as_picture(member.name, beside.read(min(HEAD, member.size))):
                    picture = _picture(member, path, prefix, length)
                    if (name := inside(member.name)) is not None:
                        pictures[name] = picture
                    yield picture
                else:
                    passed_over.append(table_name(prefix + member.name))
            file.seek(archive.offset)
            end = file.read(tarfile.BLOCKSIZE)
            if not end or end.strip(b"\0"):  # tarfile takes a broken header, or a missing end, for the end
                raise tarfile.ReadError(f"no end marker at byte {archive.offset}")
        yield from _linked(links, pictures, path, prefix)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (tarfile.TarError, ValueError, OverflowError, EOFError) as error:
        raise UserError(f"{path}: no tar, damaged or cut off ({error})", "make it again") from None


def _picture(member: tarfile.TarInfo, path: Path, prefix: str, length: int) -> PictureFile:
    name = inside(member.name)
    fault = None
    if name is None:
        fault = "leads out of the archive with `..`"
    elif not member.isreg():
        fault = "no regular file; only files inside the archive are read"
    elif member.issparse():
        fault = "a sparse file; only plain files are read"
    elif member.offset_data + member.size > length:
        fault = "cut off: the archive ends before it does"
    return PictureFile(table_name(f"{prefix}{name or member.name}"), path, member.offset_data, member.size, fault)


def _linked(
    links: list[tarfile.TarInfo], pictures: dict[str, PictureFile], path: Path, prefix: str
) -> Iterator[PictureFile]:
    """The links named like pictures or leading to one, as what they lead to, which may be another link before them."""
    for link in links:
        # a hard link's target is a member's name; a symbolic one's is relative to the folder of the link
        target = link.linkname if link.islnk() else posixpath.join(posixpath.dirname(link.name), link.linkname)
        leads = None if link.issym() and link.linkname.startswith("/") else inside(target)
        picture, name = pictures.get(leads) if leads is not None else None, inside(link.name)
        if name is not None and picture is not None:
            pictures[name] = replace(picture, name=table_name(f"{prefix}{name}"))
            yield pictures[name]
        elif is_picture(link.name):
            fault = "a link to no picture in the archive; only files inside it are read"
            yield PictureFile(table_name(f"{prefix}{name or link.name}"), path, fault=fault)


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") and part not in {".", ".."} for part in PurePosixPath(name).parts)
