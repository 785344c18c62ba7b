from dataclasses import asdict
from typing import Any

import pytest

from quantart.errors import UserError
from quantart.serving.limits import Limits, parse_limits


def test_what_is_not_named_keeps_its_default() -> None:
    limits = Limits.of({"max_rows": 8})
    assert asdict(limits) == asdict(Limits()) | {"max_rows": 8}
    assert Limits.of(None) == Limits()


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"max_rows": 0}, "max_rows = 0: must be an integer of at least 1"),
        ({"max_pixels": "many"}, "max_pixels = 'many': must be"),
        ({"at_once": True}, "at_once = True: must be"),
        ({"rows": 8}, "rows: there is no such limit; there are max_rows, max_bytes, max_pixels, max_size, max_sent, "),
    ],
)
def test_what_is_no_limit_is_a_sentence(config: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        Limits.of(config)


def test_limits_on_the_command_line() -> None:
    assert parse_limits(["max_rows=8", "max_size=512"]) == {"max_rows": 8, "max_size": 512}
    for text in ("max_rows", "max_rows=many", "max_rows=1.5"):
        with pytest.raises(UserError, match=f"--limit {text}: must be NAME=NUMBER"):
            parse_limits([text])
    with pytest.raises(UserError, match="rows: there is no such limit"):
        parse_limits(["rows=8"])
