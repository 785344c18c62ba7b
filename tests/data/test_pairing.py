from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantart.data.pairing import held_out_pairs

sizes = st.integers(1, 30)


def test_the_seed_fixes_the_pairs() -> None:
    assert held_out_pairs(12, 21, 48, seed=0) == held_out_pairs(12, 21, 48, seed=0)
    assert held_out_pairs(12, 21, 48, seed=0) != held_out_pairs(12, 21, 48, seed=1)


def test_the_first_pairs_show_each_photograph_once_in_order_with_different_paintings() -> None:
    first = held_out_pairs(12, 21, 48, seed=0)[:12]
    assert [content for content, _ in first] == list(range(12))
    assert len({style for _, style in first}) == 12


@given(sizes, sizes, st.integers(1, 200), st.integers(0, 5))
def test_pictures_are_used_equally_and_pairs_do_not_repeat_while_avoidable(
    n_content: int, n_style: int, pairs: int, seed: int
) -> None:
    drawn = held_out_pairs(n_content, n_style, pairs, seed)
    assert len(drawn) == pairs
    most_used = Counter(drawn).most_common(1)[0][1]
    assert most_used == -(-pairs // (n_content * n_style))
    for side, size in enumerate((n_content, n_style)):
        uses = Counter(pair[side] for pair in drawn)
        assert set(uses) <= set(range(size))
        assert len(uses) == min(size, pairs)
        assert max(uses.values()) - min(uses.values()) <= 1


def test_fewer_pairs_than_pictures_draw_them_from_the_whole_range() -> None:
    contents = [content for content, _ in held_out_pairs(1000, 1000, 20, seed=0)]
    assert contents == sorted(contents)
    assert contents[-1] > 500


def test_an_empty_domain_is_an_error() -> None:
    with pytest.raises(ValueError, match="0 photographs"):
        held_out_pairs(0, 3, 2, seed=0)
