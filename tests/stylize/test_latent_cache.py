import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from quantart.stylize.cache import LatentCache, content_hash

FOUR_BYTES = torch.zeros(1)


def test_the_longest_unused_makes_room() -> None:
    cache = LatentCache(max_bytes=8)
    for key in "aba":
        cache.get(key, FOUR_BYTES.clone)
    cache.get("c", FOUR_BYTES.clone)  # b goes
    assert cache.figures() == (1, 3, 2, 8)
    cache.get("a", FOUR_BYTES.clone)
    cache.get("b", FOUR_BYTES.clone)
    assert cache.figures() == (2, 4, 2, 8)


def test_what_is_larger_than_the_cache_is_not_kept() -> None:
    cache = LatentCache(max_bytes=8)
    cache.get("a", FOUR_BYTES.clone)
    assert cache.get("b", lambda: torch.ones(3)).sum() == 3
    assert cache.figures() == (0, 2, 1, 4)


def test_threads_that_ask_at_once_get_the_one_that_is_made() -> None:
    cache, asked, made = LatentCache(max_bytes=100), threading.Event(), []

    def make() -> torch.Tensor:
        asked.wait(10)
        made.append(1)
        return torch.full((1,), 7.0)

    with ThreadPoolExecutor(4) as threads:
        answers = [threads.submit(cache.get, "a", make) for _ in range(4)]
        asked.set()
        assert [answer.result(10).item() for answer in answers] == [7.0] * 4
    assert made == [1]
    assert cache.figures() == (3, 1, 1, 4)


def test_what_fails_is_tried_again() -> None:
    cache = LatentCache(max_bytes=100)
    with pytest.raises(ZeroDivisionError):
        cache.get("a", lambda: FOUR_BYTES / (1 // 0))
    assert cache.get("a", FOUR_BYTES.clone) == 0
    assert cache.figures().entries == 1


def test_a_thread_that_waits_for_what_fails_makes_it_itself() -> None:
    cache, began, asked = LatentCache(max_bytes=100), threading.Event(), threading.Event()

    def fail() -> torch.Tensor:
        began.set()
        asked.wait(10)
        raise ZeroDivisionError  # as does work that is stopped in the demo

    with ThreadPoolExecutor(2) as threads:
        stopped = threads.submit(cache.get, "a", fail)
        assert began.wait(10)
        waiting = threads.submit(cache.get, "a", FOUR_BYTES.clone)
        asked.set()
        with pytest.raises(ZeroDivisionError):
            stopped.result(10)
        assert waiting.result(10) == 0


def test_pictures_of_other_pixels_or_another_shape_differ() -> None:
    picture = np.zeros((4, 6, 3), np.uint8)
    other = picture.copy()
    other[3, 5, 2] = 1
    hashes = {content_hash(each) for each in (picture, other, picture.reshape(6, 4, 3), picture[:, :4])}
    assert len(hashes) == 4
    assert content_hash(picture[:, :4]) == content_hash(picture[:, :4].copy())
