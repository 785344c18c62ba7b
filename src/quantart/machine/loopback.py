"""Who can reach a server that this project starts. None of these servers asks for a password."""

from __future__ import annotations

LOOPBACK = {"127.0.0.1", "localhost", "::1"}


def at(host: str, port: int) -> str:
    """Host and port as addresses have them: an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def reachable(host: str, port: int) -> str | None:
    """The warning to give before a server starts at `host`; None where only this machine reaches it."""
    if host in LOOPBACK:
        return None
    return f"anyone who reaches {at(host, port)} can use it: it asks for no password"
