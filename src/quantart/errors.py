"""The exceptions that the command line turns into a sentence and an exit code."""

from __future__ import annotations

import signal


class UserError(Exception):
    """Something the user can mend. Its message says what was wrong, where, and what would be right.

    The command line prints the message and exits with code 2; it never shows a traceback for it.
    """


class StoppedBySignal(Exception):
    """Work stopped in good order on SIGTERM or SIGINT; `exit_code` is 128 + the signal's number."""

    def __init__(self, signum: int, message: str) -> None:
        self.signum = signum
        self.exit_code = 128 + signum
        super().__init__(f"stopped by {signal.Signals(signum).name}: {message}")
