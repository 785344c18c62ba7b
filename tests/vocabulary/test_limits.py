"""Limits on metrics."""

from __future__ import annotations

import pytest

from quantart.vocabulary.metrics import Limit, parse_limit


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("gram_squeezenet1_1 <= 1.1", Limit("gram_squeezenet1_1", True, 1.1)),
        (" colour_rgb<=8e-2 ", Limit("colour_rgb", True, 0.08)),
        ("usage >= .5", Limit("usage", False, 0.5)),
        ("kid <= -1", Limit("kid", True, -1.0)),
    ],
)
def test_a_limit_is_read(text: str, limit: Limit) -> None:
    assert parse_limit(text) == limit
    assert parse_limit(str(limit)) == limit


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("gram_squeezenet1_1 < 1.1", "`metric <= number`"),
        ("gram_squeezenet1_1 <= nan", "`metric <= number`"),
        ("gram_squeezenet1_1 <= 1.1 and usage >= 1", "`metric <= number`"),
        ("", "`metric <= number`"),
        ("gram_squeezenet <= 1.1", "gram_squeezenet1_1"),
        ("gram_squeezenet1_1 >= 1.1", "smaller gram_squeezenet1_1 is better.*<="),
        ("usage <= 0.5", "larger usage is better.*>="),
    ],
)
def test_anything_else_is_refused_with_the_right_form(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_limit(text)
