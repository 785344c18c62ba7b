"""A process that lost the others it works with: said as a sentence."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch.distributed as dist

from quantart.components.distributed import world_size
from quantart.errors import UserError

GLOO = "gloo/"  # in the messages of what talks on CPUs, beside the place in its source; they are plain RuntimeErrors


@contextmanager
def lost_process(then: Callable[[], str]) -> Iterator[None]:
    """Turn the end of another process, which breaks the connection to it, into a sentence.

    Args:
        then: says what running again would go on from.

    Raises:
        UserError: another process ended.
    """
    try:
        yield
    except RuntimeError as error:
        if world_size() == 1 or not (isinstance(error, dist.DistError) or GLOO in str(error)):
            raise
        raise UserError(f"another of the {world_size()} processes ended, so this one stops. {then()}") from None
