from dataclasses import asdict
from typing import Any

import pytest

from quantart.errors import UserError
from quantart.serving.requests import Limits, parse_limits


def test_what_is_not_named_keeps_its_default() -> None:
    limits = Limits.of({"max_rows": 8})
    assert asdict(limits) == asdict(Limits()) | {"max_rows": 8}
    assert Limits.of(None) == Limits()


@pytest.mark.parametrize(
    ("config", "fault"),
    [
        ({"max_rows": 0}, "max_rows = 0: "),
        ({"max_pixels": "many"}, "max_pixels = 'many': "),
        ({"at_once": True}, "at_once = True: "),
        ({"rows": 8}, "rows: "),
    ],
)
def test_what_is_no_limit_is_named(config: dict[str, Any], fault: str) -> None:
    with pytest.raises(UserError) as refused:
        Limits.of(config)
    assert refused.value.fault.startswith(fault)
    assert all(name in refused.value.remedy for name in asdict(Limits())) == (config == {"rows": 8})


def test_limits_on_the_command_line() -> None:
    assert parse_limits(["max_rows=8", "max_size=512"]) == {"max_rows": 8, "max_size": 512}
    for text in ("max_rows", "max_rows=many", "max_rows=1.5"):
        with pytest.raises(UserError, match=f"^--limit {text}: "):
            parse_limits([text])
    with pytest.raises(UserError, match="^rows: "):
        parse_limits(["rows=8"])
