"""Report that another process of the training ended."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch.distributed as dist

from quantart.components.distributed import world_size
from quantart.errors import UserError

GLOO = "gloo/"  # errors between processes on CPUs are plain RuntimeErrors that name a source file of gloo


@contextmanager
def lost_process(advice: Callable[[], str]) -> Iterator[None]:
    """Report the end of another process, which breaks the connection to it.

    Args:
        advice: returns what to do now.

    Raises:
        UserError: another process ended.
    """
    try:
        yield
    except RuntimeError as error:
        if world_size() == 1 or not (isinstance(error, dist.DistError) or GLOO in str(error)):
            raise
        raise UserError(f"another of the {world_size()} processes ended, so this one stops", advice()) from None
