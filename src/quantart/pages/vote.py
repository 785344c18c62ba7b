"""The page on which two paintings of one photograph are compared by eye, without saying whose they are."""

from __future__ import annotations

import logging
import random
import secrets
import socket
import threading
import webbrowser
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import uvicorn
from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse
from pydantic import BaseModel
from starlette.middleware.trustedhost import TrustedHostMiddleware

from quantart.data.votes import Choice, Vote, Votes
from quantart.errors import UserError
from quantart.machine.interrupt import wait_for_a_signal
from quantart.machine.loopback import LOOPBACK, at, reachable

PAGE = Path(__file__).with_name("templates") / "vote.html"
LONGEST_NAME = 40
POLICY = "default-src 'none'; img-src 'self'; connect-src 'self'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"

log = logging.getLogger(__name__)


class Question(NamedTuple):
    """A held-out pair, painted by two."""

    content: str
    """Names of the photograph and the painting."""
    style: str
    photograph: Path
    """The pictures' files."""
    painting: Path
    painted: dict[str, Path]
    """By whose they are, as in `Vote`; two."""
    size: int
    """Side in pixels."""


class Answer(BaseModel):
    """What the page sends."""

    voter: str
    number: int
    choice: Choice


class Booth:
    """The questions, and who has answered which. For each voter and question it is drawn who is shown on the left."""

    def __init__(self, questions: Sequence[Question], votes: Votes) -> None:
        self._questions = questions
        self._votes = votes
        self._secret = secrets.token_hex()
        files = {file for each in questions for file in (each.photograph, each.painting, *each.painted.values())}
        self.pictures = {secrets.token_urlsafe(12): file for file in sorted(files)}
        self._tokens = {file: token for token, file in self.pictures.items()}

    def next_question(self, voter: str) -> dict[str, Any]:
        """The next question for a voter; each has an order of their own. `number` is None at the end."""
        voter = _checked(voter)
        answered = {vote.question for vote in self._votes.cast if vote.voter == voter}
        order = random.Random(voter).sample(range(len(self._questions)), len(self._questions))  # noqa: S311
        left = [n for n in order if (q := self._questions[n])[:2] + (frozenset(q.painted),) not in answered]
        count = {"done": len(order) - len(left), "all": len(order)}
        if not left:
            return {"number": None, **count}
        question = self._questions[left[0]]
        files = [
            question.photograph,
            question.painting,
            *(question.painted[name] for name in self._sides(voter, left[0])),
        ]
        return {"number": left[0], "pictures": [self._tokens[file] for file in files], **count}

    def answer(self, answer: Answer) -> None:
        """Keep a vote, on disk, before this returns."""
        voter = _checked(answer.voter)
        if not 0 <= answer.number < len(self._questions):
            raise HTTPException(404, f"there is no question {answer.number}; load the page again")
        question = self._questions[answer.number]
        now = datetime.now(UTC).isoformat(timespec="seconds")
        left, right = self._sides(voter, answer.number)
        vote = Vote(now, voter, question.content, question.style, left, right, answer.choice, question.size)
        try:
            if not self._votes.add(vote):
                raise HTTPException(409, "you have answered this question before")
        except UserError as error:
            raise HTTPException(507, str(error)) from None

    def _sides(self, voter: str, number: int) -> list[str]:
        """Whose picture is shown on the left, and whose on the right."""
        return random.Random(f"{self._secret} {voter} {number}").sample(sorted(self._questions[number].painted), 2)  # noqa: S311


def _checked(voter: str) -> str:
    if not (voter := voter.strip()) or len(voter) > LONGEST_NAME or not voter.isprintable():
        raise HTTPException(422, f"a voter's name has 1 to {LONGEST_NAME} letters")
    return voter


def vote_app(booth: Booth, hosts: Sequence[str] = ("*",)) -> FastAPI:
    """The page and what it asks for, at addresses of these hosts alone."""
    app = FastAPI(openapi_url=None)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(hosts))

    @app.get("/")
    def page() -> HTMLResponse:
        return HTMLResponse(PAGE.read_text(encoding="utf8"), headers={"Content-Security-Policy": POLICY})

    @app.get("/question")
    def question(voter: str) -> dict[str, Any]:
        return booth.next_question(voter)

    @app.post("/vote")
    def vote(answer: Answer) -> dict[str, Any]:
        booth.answer(answer)
        return booth.next_question(answer.voter)

    @app.get("/picture/{token}")
    def picture(token: str) -> FileResponse:
        if token not in booth.pictures:
            raise HTTPException(404, "there is no such picture; load the page again")
        return FileResponse(booth.pictures[token], media_type="image/png")

    @app.exception_handler(RequestValidationError)
    def refuse(_: Request, error: RequestValidationError) -> JSONResponse:
        faults = [f"{each['loc'][-1]}: {each['msg'][0].lower()}{each['msg'][1:]}" for each in error.errors()]
        return JSONResponse({"detail": "; ".join(faults)}, 422)

    return app


def serve_votes(booth: Booth, host: str, port: int, *, browser: bool = False) -> None:
    """Serve the page at a free port until the process gets SIGINT or SIGTERM."""
    if said := reachable(host, port):
        log.warning("%s", said)
    app = vote_app(booth, [*LOOPBACK, "[::1]"] if host in LOOPBACK else ["*"])
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, port), family=family) as listening:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        address = f"http://{at(host, port)}"
        log.info("open %s in a browser; Ctrl-C ends it", address)
        if browser:
            webbrowser.open(address)
        wait_for_a_signal()
        server.should_exit = True
        thread.join()
