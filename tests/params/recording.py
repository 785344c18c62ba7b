"""Which parameters a piece of code reads."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel

from quantart.params import Params


def recording(params: Params) -> tuple[Params, set[str]]:
    """A view with the values of `params`, and the set of the dotted keys that have been read from the view.

    A key is that of a single value, never of a section. `model_dump` reads all that it returns; `select`, which names
    its keys already, reads nothing.
    """
    read: set[str] = set()
    view = _recorded(params, "", read)
    assert isinstance(view, Params)
    return view, read


def _recorded(section: BaseModel, prefix: str, read: set[str]) -> BaseModel:
    kind: Any = type(section)
    values = {name: getattr(section, name) for name in kind.model_fields}
    leaves = {name for name, value in values.items() if not isinstance(value, BaseModel)}

    class Recorded(kind):  # type: ignore[misc]
        def __getattribute__(self, name: str) -> Any:
            if name in leaves:
                read.add(f"{prefix}{name}")
            return super().__getattribute__(name)

        def model_dump(self, *, include: set[str] | None = None, **options: Any) -> dict[str, Any]:
            for name in include or values:
                value = getattr(self, name)
                if isinstance(value, BaseModel):
                    value.model_dump()
            return section.model_dump(include=include, **options)

        def select(self, keys: Iterable[str]) -> dict[str, Any]:
            assert isinstance(section, Params)
            return section.select(keys)

    nested = {name: value for name, value in values.items() if name not in leaves}
    return Recorded.model_construct(  # type: ignore[no-any-return]
        **values | {name: _recorded(value, f"{prefix}{name}.", read) for name, value in nested.items()}
    )
