"""What all tests share."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    # pytest takes options from the topmost conftest.py alone; tests/parity uses it
    parser.addoption("--golden", metavar="DIR", help="folder of golden numbers ($QUANTART_GOLDEN, ../shared/golden)")
