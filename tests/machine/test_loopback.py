"""Servers are for this machine alone unless another address is asked for, and then say so."""

from __future__ import annotations

import inspect
import os
import socket
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from quantart.errors import UserError
from quantart.machine.loopback import at, reachable
from quantart.serving import server
from quantart.tracking import ui
from quantart_cli import use

SAID = ["anyone who reaches 0.0.0.0:5123 can use it: it asks for no password"]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_loopback_addresses_need_no_warning(host: str) -> None:
    assert reachable(host, 5000) is None


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.168.1.7", "127.0.0.1.example.org"])
def test_any_other_address_is_reported(host: str) -> None:
    assert reachable(host, 5000) == f"anyone who reaches {at(host, 5000)} can use it: it asks for no password"


def test_an_address_has_brackets_where_a_browser_needs_them() -> None:
    assert [at(host, 80) for host in ("::1", "127.0.0.1", "a.org")] == ["[::1]:80", "127.0.0.1:80", "a.org:80"]


@pytest.mark.parametrize("command", [use.serve, use.ui, server.serve])
def test_the_default_is_this_machine(command: Any) -> None:
    assert inspect.signature(command).parameters["host"].default == "127.0.0.1"


@pytest.mark.parametrize(("host", "said"), [("0.0.0.0", SAID), ("127.0.0.1", [])])
def test_both_servers_get_the_address_and_say_who_reaches_it(
    host: str, said: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr(os, "execve", lambda _, command, environment: started.append(command))
    monkeypatch.setattr(os, "execv", lambda _, command: started.append(command))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(server, "fetch_model", lambda _: Path("model"))
    monkeypatch.setattr(ui, "runs_page", lambda host, port: f"{host}:{port}")
    monkeypatch.setattr(ui.mlflow, "get_tracking_uri", lambda: "sqlite:///mlflow.db")
    for start in (lambda: server.serve("models:/x@y", host, 5123), lambda: ui.show_ui(host, 5123)):
        caplog.clear()
        start()
        assert [record.message for record in caplog.records if record.levelname == "WARNING"] == said
    assert [command[command.index("--host") + 1] for command in started] == [host, host]
    assert {command[0] for command in started} == {sys.executable}


def test_an_address_where_no_server_can_listen_is_reported() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"port {port} is in use; --port 0 takes a free one"):
            server.serve("models:/x@y", port=port)
    with pytest.raises(UserError, match=r"--host 999\.1\.1\.1 --port 0: no server can listen there"):
        server.serve("models:/x@y", "999.1.1.1", 0)
