"""The order in which training sees its items."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from quantart.data.batches import PairBatches, PictureBatches, Schedule, process_slice

sizes = st.integers(1, 30)


def schedule(n: int = 10, batch_size: int = 4, seed: int = 0, stream: int = 0) -> Schedule:
    return Schedule(n, batch_size, seed=seed, stream=stream)


@given(n=sizes, batch_size=sizes, seed=st.integers(0, 3))
def test_every_epoch_has_each_item_once(n: int, batch_size: int, seed: int) -> None:
    source = schedule(n, batch_size, seed)
    epochs = 3
    steps = -(-epochs * n // batch_size)
    seen = np.concatenate([source.indices(step) for step in range(steps)])[: epochs * n]
    for epoch in seen.reshape(epochs, n):
        assert sorted(epoch) == list(range(n))


@given(n=sizes, batch_size=sizes, steps=st.permutations(range(12)))
def test_a_batch_depends_on_seed_and_step_alone_whatever_was_asked_before(
    n: int, batch_size: int, steps: list[int]
) -> None:
    used = schedule(n, batch_size)
    for step in steps:
        fresh = schedule(n, batch_size)
        np.testing.assert_array_equal(used.indices(step), fresh.indices(step))
        np.testing.assert_array_equal(used.draws(step, 3), fresh.draws(step, 3))


def test_fewer_items_than_the_batch_are_repeated_equally() -> None:
    batch = schedule(n=3, batch_size=8).indices(0)
    assert batch.shape == (8,)
    assert batch.dtype == np.int64
    assert sorted(Counter(batch.tolist()).values()) == [2, 3, 3]


def test_epochs_seeds_and_streams_are_shuffled_differently() -> None:
    first, second = (schedule(n=40, batch_size=40).indices(step) for step in (0, 1))
    orders = [
        first,
        second,
        schedule(n=40, batch_size=40, seed=1).indices(0),
        schedule(n=40, batch_size=40, stream=1).indices(0),
    ]
    assert len({tuple(order) for order in orders}) == 4


def test_draws_are_uniform_and_differ_between_steps_and_streams() -> None:
    draws = schedule(batch_size=2000).draws(0, 3)
    assert draws.shape == (2000, 3)
    assert draws.min() >= 0
    assert draws.max() < 1
    np.testing.assert_allclose(draws.mean(0), 0.5, atol=0.03)
    assert not np.array_equal(draws, schedule(batch_size=2000).draws(1, 3))
    assert not np.array_equal(draws, schedule(batch_size=2000, stream=1).draws(0, 3))


@given(batch_size=sizes, world=st.integers(1, 8))
def test_the_processes_shares_make_up_the_joint_batch(batch_size: int, world: int) -> None:
    source = schedule(n=7, batch_size=batch_size)
    parts = [process_slice(batch_size, rank, world) for rank in range(world)]
    np.testing.assert_array_equal(np.concatenate([source.indices(5)[part] for part in parts]), source.indices(5))
    np.testing.assert_array_equal(np.concatenate([source.draws(5, 2)[part] for part in parts]), source.draws(5, 2))
    lengths = [part.stop - part.start for part in parts]
    assert max(lengths) - min(lengths) <= 1


@pytest.mark.parametrize("step", [10**6, 10**9])
def test_a_late_step_costs_no_more_than_the_first(step: int) -> None:
    assert len(schedule(n=1000, batch_size=8).indices(step)) == 8


class Numbers:
    """Pictures that are their own numbers, from `first` on."""

    short_side = 10
    distant = False

    def __init__(self, first: int, n: int) -> None:
        self._first = first
        self.files = [f"{first + place}.jpg" for place in range(n)]

    def __len__(self) -> int:
        return len(self.files)

    def crops(self, indices: np.ndarray, side: int, draws: np.ndarray) -> torch.Tensor:
        """Red is the picture's number, green the place of the cut, blue the side of the cut."""
        assert draws.shape == (len(indices), 3)
        red, green = torch.from_numpy(self._first + indices), torch.from_numpy(draws[:, 0] * 255)
        pixels = torch.stack([red, green, torch.full_like(green, side)], 1).to(torch.uint8)
        return pixels[:, :, None, None].expand(-1, -1, side, side)


def picture_batches(rank: int = 0, world: int = 1) -> PictureBatches:
    sources: Any = {"content": Numbers(0, 9), "style": Numbers(100, 5)}
    process: Any = SimpleNamespace(process_index=rank, num_processes=world, device=torch.device("cpu"))
    return PictureBatches(sources, batch_size=7, crop=4, seed=0, accelerator=process)


def test_both_domains_have_equal_parts_of_a_batch_of_pictures_whose_files_are_known() -> None:
    batches = picture_batches()
    for step in range(5):
        pixels = (batches(step)[:, 0, 0, 0] + 1) * 127.5
        names = [f"{'style' if number >= 100 else 'content'} {number}.jpg" for number in pixels.round().int().tolist()]
        assert names == batches.files(step)
        assert Counter(name.split()[0] for name in names) == {"content": 4, "style": 3}


def test_processes_share_the_joint_batch_of_pictures() -> None:
    parts = [picture_batches(rank, 2) for rank in range(2)]
    assert torch.equal(picture_batches()(3), torch.cat([part(3) for part in parts]))
    assert picture_batches().files(3) == [name for part in parts for name in part.files(3)]


def pair_batches(
    rank: int = 0, world: int = 1, pairs: list[tuple[int, int]] | None = None, min_scale: float = 1.0
) -> PairBatches:
    sources: list[Any] = [Numbers(0, 9), Numbers(100, 5)]
    process: Any = SimpleNamespace(process_index=rank, num_processes=world, device=torch.device("cpu"))
    options: Any = {"batch_size": 4, "crop": 6, "seed": 0, "accelerator": process}
    return PairBatches(*sources, pairs=pairs, min_scale=min_scale, **options)


def numbers_of(pictures: torch.Tensor, channel: int = 0) -> list[int]:
    """The pictures' numbers; channel 1: the places where they were cut."""
    return ((pictures[:, channel, 0, 0] + 1) * 127.5).round().int().tolist()


def test_a_batch_of_pairs_draws_from_each_domain_independently_and_knows_its_rows() -> None:
    batches, seen = pair_batches(), Counter[int]()
    for step in range(45):
        content, style = batches(step)
        assert content.shape == style.shape == (4, 3, 6, 6)
        assert numbers_of(content) == batches.rows(step)[0].tolist()
        assert numbers_of(style) == (100 + batches.rows(step)[1]).tolist()
        assert numbers_of(content, 1) != numbers_of(style, 1)
        seen.update(numbers_of(content) + numbers_of(style))
    assert seen == Counter(dict.fromkeys(range(9), 20) | dict.fromkeys(range(100, 105), 36))


def test_partners_stay_together_and_are_cut_at_the_same_place() -> None:
    pairs = [(7, 0), (2, 4), (3, 1)]
    batches, seen = pair_batches(pairs=pairs), Counter[tuple[int, int]]()
    for step in range(3):
        content, style = batches(step)
        assert numbers_of(content, 1) == numbers_of(style, 1)
        seen.update(zip(numbers_of(content), numbers_of(style), strict=True))
    assert seen == Counter({(one, 100 + other): 4 for one, other in pairs})


@pytest.mark.parametrize("pairs", [None, [(7, 0), (2, 4), (3, 1)]])
def test_processes_share_the_joint_batch_of_pairs(pairs: list[tuple[int, int]] | None) -> None:
    joint, *parts = (pair_batches(*place, pairs=pairs)(3) for place in ((0, 1), (0, 2), (1, 2)))
    for domain in range(2):
        assert torch.equal(joint[domain], torch.cat([part[domain] for part in parts]))


def test_all_pictures_of_a_step_are_reduced_by_the_same_random_factor() -> None:
    sides = Counter[int]()
    for step in range(60):
        content, style = pair_batches(min_scale=0.5)(step)
        assert content.shape == style.shape == (4, 3, 6, 6)
        (side,) = set(numbers_of(content, 2) + numbers_of(style, 2))
        sides[side] += 1
    assert sorted(sides) == [6, 7, 8, 9, 10]  # 6 to 12, but no more than the pictures have
    assert {side for step in range(9) for side in numbers_of(pair_batches()(step).content, 2)} == {6}
