"""What a module imports inside this package, directly or not, and checksums of that code.

The pipeline's stages depend on these checksums, so that a stage runs again when code that it runs has changed. Only
what Python executes counts: comments, formatting, docstrings, descriptions of parameters and imports for type checking
do not.
"""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple, TypeGuard

PACKAGE = Path(__file__).parent
_EMPTY = re.compile(r"(, )?\w+=\[\]")
"""Python 3.13 leaves empty lists out of a dump, and each version adds lists that are mostly empty."""


def checksums(*entries: str, package: Path = PACKAGE) -> dict[str, str]:
    """Checksum of each file that the modules `entries` need, by its path relative to the package's folder.

    These are the modules, the modules of the package that they import in turn, the packages that these lie in, and the
    data files (everything that is no module) in the folders of these packages.

    Args:
        entries: dotted names, such as `quantart.data.prepare`.
        package: the package's folder; its name is the first part of every dotted name.
    """
    found: dict[Path, str] = {}
    waiting = [file for entry in entries for file in _files_of(entry, package)]
    while waiting:
        file = waiting.pop()
        if file in found:
            continue
        parsed = _parse(file.read_text(encoding="utf8"))
        found[file] = parsed.checksum
        waiting += [each for name in parsed.imports for each in _files_of(name, package)]
        if file.name == "__init__.py":
            found |= {data: hashlib.sha256(data.read_bytes()).hexdigest() for data in _data_files(file.parent)}
    return {str(file.relative_to(package)): found[file] for file in sorted(found)}


class _Parsed(NamedTuple):
    imports: frozenset[str]
    checksum: str


@cache
def _parse(source: str) -> _Parsed:
    tree = ast.parse(source)
    imports = frozenset(_imports(tree))
    text = _EMPTY.sub("", ast.dump(_Undocumented().visit(tree)))
    return _Parsed(imports, hashlib.sha256(text.encode()).hexdigest())


def _imports(node: ast.AST) -> Iterator[str]:
    """Dotted names that may be modules; what is imported from a module may be one too."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        if node.level:
            raise ValueError(f"line {node.lineno}: import by the full name, not relative to the module")
        yield from (f"{node.module}.{alias.name}" for alias in node.names)
    elif _for_type_checking(node):
        for other in node.orelse:
            yield from _imports(other)
    else:
        for child in ast.iter_child_nodes(node):
            yield from _imports(child)


def _files_of(name: str, package: Path) -> list[Path]:
    """The packages and the module that `name` stands for; it may end with the name of something in the module."""
    first, *rest = name.split(".")
    if first != package.name:
        return []
    files, place = [package / "__init__.py"], package
    for part in rest:
        place /= part
        if place.is_dir() and (place / "__init__.py").is_file():
            files.append(place / "__init__.py")
        elif place.with_suffix(".py").is_file():
            return [*files, place.with_suffix(".py")]
        else:
            break
    return files


def _data_files(folder: Path) -> Iterator[Path]:
    """What is no module in a package's folder or below it, but for other packages."""
    for path in folder.iterdir():
        if path.is_dir():
            if path.name != "__pycache__" and not (path / "__init__.py").is_file():
                yield from _data_files(path)
        elif path.suffix not in {".py", ".pyc"} and path.name != "py.typed":
            yield path


class _Undocumented(ast.NodeTransformer):
    """Takes out what explains the code and what only a type checker sees."""

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        text = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        return None if text else self.generic_visit(node)

    def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt] | None:
        self.generic_visit(node)
        return node.orelse if _for_type_checking(node) else node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        node.keywords = [
            each for each in node.keywords if each.arg != "description" or not isinstance(each.value, ast.Constant)
        ]
        return node


def _for_type_checking(node: ast.AST) -> TypeGuard[ast.If]:
    return isinstance(node, ast.If) and ast.unparse(node.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}
