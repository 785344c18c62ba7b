"""Gradio, kept to this machine, and the server of a page.

Import Gradio from here: what it reads when it is imported, it reads from variables that are set before.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from quantart.errors import UserError
from quantart.machine.interrupt import wait_for_a_signal
from quantart.machine.loopback import at, reachable

_folder = TemporaryDirectory(prefix="quantart-pages-")
PICTURES = Path(_folder.name)
"""Where pictures that are sent and painted lie until the process ends."""
os.environ.update(GRADIO_ANALYTICS_ENABLED="False", HF_HUB_DISABLE_TELEMETRY="1", GRADIO_TEMP_DIR=str(PICTURES))
try:
    import gradio as gradio
except ModuleNotFoundError as missing:
    raise UserError(
        f"{missing.name}: not installed", "`pip install 'quantart[demo]'` installs what pages need"
    ) from None

log = logging.getLogger(__name__)

WAITING = 32  # requests in the queue; further ones are refused with a sentence
KEPT_SECONDS = 3600  # for which pictures that were sent and painted are kept
FONT, MONO = ("system-ui", "sans-serif"), ("ui-monospace", "monospace")  # the visitor's own: none is fetched


def blocks(title: str) -> Any:
    """An empty page, to be filled in a `with` statement."""
    return gradio.Blocks(title=title, analytics_enabled=False, delete_cache=(KEPT_SECONDS, KEPT_SECONDS))


def serve_page(page: Any, host: str, port: int, *, max_bytes: int, css: str = "", browser: bool = False) -> None:
    """Serve a page until the process gets SIGINT or SIGTERM.

    Args:
        host: the server asks for no password, so anyone who can reach this address can use it.
        port: a free one.
        max_bytes: of a file that is sent.
        browser: open the page in the default browser.
    """
    if said := reachable(host, port):
        log.warning("%s", said)
    page.queue(max_size=WAITING).launch(
        server_name=host,
        server_port=port,
        max_file_size=max_bytes,
        inbrowser=browser,
        css=css,
        theme=gradio.themes.Default(font=FONT, font_mono=MONO),
        footer_links=["api"],
        quiet=True,
        prevent_thread_lock=True,
        # whatever Gradio's own variables say: no tunnel, no other server, no list of those who visit
        **dict.fromkeys(("share", "mcp_server", "ssr_mode", "pwa", "run_history", "enable_monitoring"), False),
    )
    log.info("open http://%s in a browser; Ctrl-C ends it", at(host, port))
    wait_for_a_signal()
    page.close(verbose=False)
