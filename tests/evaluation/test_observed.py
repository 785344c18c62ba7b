import torch

from quantart.evaluation.observed import Observed, Perception, RecentlyUsed, observe


def test_rows_joined_in_another_order_are_the_pictures_in_that_order(perception: Perception) -> None:
    pictures = torch.rand(3, 3, 32, 32) * 2 - 1
    latents, indices = torch.randn(3, 8, 4, 4), torch.arange(48).view(3, 4, 4)
    rows = observe(perception, pictures, latents, indices).rows()
    joined = Observed.join([rows[2], rows[0], rows[0]])
    directly = observe(perception, pictures[[2, 0, 0]], latents[[2, 0, 0]], indices[[2, 0, 0]])
    assert joined.indices is not None
    assert torch.equal(joined.indices, indices[[2, 0, 0]])
    for name in ("pictures", "latents", "colours", "pooled"):
        torch.testing.assert_close(getattr(joined, name), getattr(directly, name))
    (ours,), (theirs,) = joined.textures, directly.textures
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3)
    for name in ("features", "grams", "moments"):
        torch.testing.assert_close(getattr(joined, name), getattr(directly, name), rtol=1e-4, atol=1e-4)


def test_a_row_does_not_hold_its_whole_batch_in_memory(perception: Perception) -> None:
    pictures = torch.rand(4, 3, 32, 32)
    row = observe(perception, pictures, pictures).rows()[1]
    assert row.indices is None
    for tensor in (row.pictures, row.features[0], row.grams[0], row.textures[0].forms):
        assert tensor.untyped_storage().nbytes() == tensor.nbytes


class Counted:
    """Squares of numbers, and which were worked out in which call."""

    def __init__(self) -> None:
        self.calls: list[list[int]] = []

    def __call__(self, indices: list[int]) -> list[int]:
        self.calls.append(indices)
        return [index**2 for index in indices]


def test_recent_values_are_computed_once_and_in_one_batch() -> None:
    compute = Counted()
    recent = RecentlyUsed(compute, keep=4)
    assert recent([3, 1, 3]) == [9, 1, 9]
    assert recent([1, 2, 3]) == [1, 4, 9]
    assert recent([3, 1]) == [9, 1]
    assert compute.calls == [[3, 1], [2]]


def test_the_value_that_was_not_asked_for_longest_is_forgotten() -> None:
    compute = Counted()
    recent = RecentlyUsed(compute, keep=2)
    for indices in ([1, 2], [1], [3], [1, 2]):
        recent(indices)
    # when 3 came, 2 had to go
    assert compute.calls == [[1, 2], [3], [2]]


def test_a_batch_larger_than_what_is_kept_is_still_answered() -> None:
    assert RecentlyUsed(Counted(), keep=1)([5, 4, 3, 5]) == [25, 16, 9, 25]
