"""A real pseudo-terminal that answers as kitty, as one with sixels, or not at all."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from quantart.images.arrays import write_image
from quantart.stylize.show import MOST

pytest.importorskip("textual_image", reason="pictures in terminals need textual-image: pip install textual-image")
CODE = "import sys; from pathlib import Path; from quantart.stylize.show import show_pictures as show; "
CODE += "show([Path(each) for each in sys.argv[1:]])"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    write_image(tmp_path / "red.png", np.full((64, 96, 3), (200, 30, 20), np.uint8))
    return tmp_path / "red.png"


def shown(files: list[Path], answers: bytes = b"") -> bytes:
    """What the terminal gets; its answers to questions lie ready, so that none comes too late."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 80, 800, 600))
    settings = termios.tcgetattr(theirs)
    settings[3] &= ~termios.ECHO
    termios.tcsetattr(theirs, termios.TCSANOW, settings)
    os.write(ours, answers)
    unset = {"LINES", "COLUMNS"}  # xdist says of its own processes how large their terminals would be
    environment = {key: value for key, value in os.environ.items() if key not in unset}
    environment |= {"TERM": "xterm-256color", "COLORTERM": "truecolor"}
    command = [sys.executable, "-c", CODE, *map(str, files)]
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=subprocess.PIPE, env=environment) as process:
        os.close(theirs)
        got = b""
        with suppress(OSError):  # the other end is closed
            while data := os.read(ours, 65536):
                got += data
        assert process.stderr
        said = process.stderr.read().decode()
    os.close(ours)
    assert (process.returncode, said) == (0, "")
    return got


def test_a_terminal_with_sixels_gets_them(file: Path) -> None:
    sixels = re.search(rb"\x1bP[\d;]*q(.*)\x1b\\", shown([file], b"\x1b[?62;4c"))
    assert sixels
    assert b"#0;2;78;12;8" in sixels[1]  # red, green and blue in per cent


def test_kitty_gets_its_own_protocol(file: Path) -> None:
    assert b"m=0,f=100" in shown([file], b"\x1b[?62c\x1b_Gi=1;OK\x1b\\")


def test_another_terminal_gets_coloured_half_cells_and_not_too_many(file: Path) -> None:
    one = shown([file])
    assert "▀".encode() in one or "▄".encode() in one
    assert b"\x1b[38;2;200;30;20" in one
    assert shown([file] * (MOST + 2)).count(b"200;30;20") == MOST * one.count(b"200;30;20")


def test_a_large_picture_fits_the_terminal(tmp_path: Path) -> None:
    write_image(tmp_path / "large.png", np.full((1600, 1200, 3), (200, 30, 20), np.uint8))
    lines = shown([tmp_path / "large.png"]).decode().splitlines()
    assert 25 < sum("200;30;20" in line for line in lines) <= 30


def test_where_there_is_no_terminal_it_says_nothing(file: Path) -> None:
    done = subprocess.run([sys.executable, "-c", CODE, str(file)], stdin=subprocess.DEVNULL, capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
