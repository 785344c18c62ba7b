"""The exceptions that the command line turns into a sentence and an exit code."""

from __future__ import annotations

import signal


class UserError(Exception):
    """Something the user can fix. The command line prints it without a traceback and exits with code 2.

    The fault says what is wrong and where, e.g. `params.yaml: stage1.base.steps = -1 is below 1`; the remedy what would
    be right, e.g. `use at least 1`, and is empty where the fault already says it.
    """

    def __init__(self, fault: str, remedy: str = "") -> None:
        self.fault = fault
        self.remedy = remedy
        super().__init__(f"{fault}; {remedy}" if remedy else fault)


def one_line(error: Exception) -> str:
    """What another library's error says, for use in a sentence; its type where it says nothing."""
    return " ".join(str(error).split()) or type(error).__name__


class StoppedBySignal(Exception):
    """Work stopped in good order on SIGTERM or SIGINT; `exit_code` is 128 + the signal's number."""

    def __init__(self, signum: int, message: str) -> None:
        self.exit_code = 128 + signum
        super().__init__(f"stopped by {signal.Signals(signum).name}: {message}")
