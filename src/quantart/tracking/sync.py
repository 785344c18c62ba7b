"""`quantart sync`: bring to the store what runs logged while it was not there."""

from __future__ import annotations

from pathlib import Path

from filelock import Timeout

from quantart.machine.progress import progress
from quantart.tracking.delivery import deliver_rest
from quantart.tracking.spool import Spool, find_spools
from quantart.tracking.store import Unreachable, configure, impatient, real_root, store_error, tracking_uri
from quantart.tracking.store import without_password as shown

REQUEST = 60


def sync(project: Path) -> bool:
    """Deliver what is left in a project, the oldest run first, and say what went where.

    Returns:
        Whether nothing is left but what belongs to another store or to a run that still goes on.

    Raises:
        UserError: the store can't be used.
    """
    root = real_root(project)
    spools = find_spools(root)
    if not spools:
        print("nothing to deliver: all that was logged is in the tracking store")
        return True
    address = shown(tracking_uri(root))
    ours = [spool for spool in spools if spool.address == address]
    for spool in spools:
        if spool.address != address:
            print(f"{spool.folder}: of the store {spool.address}: set MLFLOW_TRACKING_URI to it to deliver this")
    if not ours:
        return True
    try:
        configure(project)
        with impatient(REQUEST):
            return all([_deliver(spool) for spool in ours])
    except Unreachable as error:
        print(f"{error}; {sum(spool.left() for spool in ours)} entries of {len(ours)} runs are kept")
        return False


def _deliver(spool: Spool) -> bool:
    total = spool.left()
    try:
        for _ in progress(deliver_rest(spool), total, spool.run_id or spool.local_id):
            pass
    except Timeout:
        print(f"{spool.folder}: its training still runs and delivers it by itself")
        return True
    except Exception as error:  # a store of artifacts raises what it likes
        said = store_error(spool.address, error)
        if isinstance(said, Unreachable):
            raise said from error
        print(f"{said}. {spool.left()} entries are kept; if the run is not wanted any more, remove {spool.folder}")
        return False
    print(f"run {spool.run_id}: {total} entries delivered")
    return True
