from typing import Any

import pytest

from quantart.errors import UserError
from quantart.images.decode import ImageError
from quantart.stylize.sizes import check_steps, painted_size


@pytest.mark.parametrize(
    ("picture", "size", "painted"),
    [
        ((256, 384), None, (256, 384)),  # its own size
        ((3000, 4000), None, (768, 1024)),  # at most 1024
        ((32, 4000), None, (32, 4000)),  # unless its short side would have less than 32
        ((100, 1000), 4096, (410, 4096)),
        ((256, 384), 96, (64, 96)),
        ((256, 384), 2000, (1333, 2000)),
        ((2048, 2048), 2048, (2048, 2048)),
        ((33, 47), 47, (33, 47)),
    ],
)
def test_the_aspect_is_kept(picture: tuple[int, int], size: int | None, painted: tuple[int, int]) -> None:
    assert painted_size(*picture, size) == painted


@pytest.mark.parametrize("size", [0, 31, 8193, -5, 2.5, True, "64"])
def test_no_picture_has_such_a_size(size: int) -> None:
    with pytest.raises(UserError) as refused:
        painted_size(100, 100, size)
    assert not isinstance(refused.value, ImageError)
    assert refused.value.fault.startswith(f"size = {size!r}: ")


@pytest.mark.parametrize(
    ("picture", "size", "fault", "limits"),
    [
        ((256, 384), 40, "384 × 256 pixels, size = 40", ("48", "2508")),
        ((256, 384), 2509, "384 × 256 pixels, size = 2509", ("48", "2508")),
        ((64, 20000), None, "20000 × 64 pixels", ("256",)),
        ((31, 60), None, "60 × 31 pixels", ("32",)),
    ],
)
def test_what_this_picture_cannot_be_is_said_with_its_limits(
    picture: tuple[int, int], size: int | None, fault: str, limits: tuple[str, ...]
) -> None:
    with pytest.raises(ImageError) as refused:
        painted_size(*picture, size)
    assert refused.value.fault == fault
    assert all(limit in refused.value.remedy for limit in limits)


def test_a_limit_holds_where_no_size_is_asked_for_too() -> None:
    assert painted_size(256, 384, None, 96) == painted_size(256, 384, 96) == (64, 96)
    assert painted_size(256, 384, None, 2048) == (256, 384)
    with pytest.raises(ImageError) as refused:
        painted_size(256, 384, 97, 96)
    assert "48 to 96" in refused.value.remedy
    for size in (None, 64):
        with pytest.raises(ImageError) as refused:
            painted_size(32, 8192, size, 2048)
        assert refused.value.fault == "8192 × 32 pixels"
        assert "max_size = 2048" in refused.value.remedy


def test_refined_pictures_have_limits_of_their_own() -> None:
    assert painted_size(256, 384, None, refined=True) == (256, 384)
    assert painted_size(40, 50, None, refined=True) == (64, 80)  # scaled up
    assert painted_size(256, 384, 1254, refined=True) == (836, 1254)
    for size in (95, 1255):
        with pytest.raises(ImageError) as refused:
            painted_size(256, 384, size, refined=True)
        assert refused.value.fault == f"384 × 256 pixels, size = {size}"
        assert refused.value.remedy.startswith("for this picture it may be 96 to 1254: refined, ")
        assert "1048576" in refused.value.remedy
    with pytest.raises(ImageError, match="at most 128 times the other"):
        painted_size(64, 64 * 129, None, refined=True)


@pytest.mark.parametrize("steps", [-1, 10_001, 10**30, 1.5, float("nan"), True, "9", None])
def test_no_number_of_steps(steps: Any) -> None:
    with pytest.raises(UserError) as refused:
        check_steps(steps)
    assert refused.value.fault == f"refine = {steps!r}: must be a whole number of steps from 0 to 10000"
    assert [check_steps(each) for each in (0, 10_000)] == [0, 10_000]
