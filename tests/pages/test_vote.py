"""The page for votes: its questions, what it keeps, and what it says to a browser and to nonsense."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
import uvicorn
from playwright.sync_api import Page, expect

from quantart.data.votes import Votes
from quantart.images.arrays import write_image
from quantart.pages.vote import Booth, Question, vote_app

from ..browser import needs_chromium, open_tab

SHADES = {"photograph": 40, "painting": 80, "one": 120, "two": 160}


@dataclass
class Served:
    address: str
    votes: Votes
    files: dict[str, Path]

    def get(self, path: str, **options: Any) -> requests.Response:
        return requests.get(f"{self.address}{path}", timeout=60, **options)

    def next(self, voter: str) -> dict[str, Any]:
        return self.get("/question", params={"voter": voter}).json()

    def vote(self, **sent: object) -> requests.Response:
        return requests.post(f"{self.address}/vote", json=sent, timeout=60)

    def shown(self, token: str) -> str:
        """Whose picture it is."""
        data = self.get(f"/picture/{token}").content
        return next(name for name, file in self.files.items() if file.read_bytes() == data)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    files = {name: tmp_path / f"{name}.png" for name in SHADES}
    for name, shade in SHADES.items():
        write_image(files[name], np.full((32, 32, 3), shade, np.uint8))
    painted = {name: files[name] for name in ("one", "two")}
    names = [("a.jpg", "a.png"), ("a.jpg", "b.png"), ("b.jpg", "a.png")]
    questions = [Question(*each, files["photograph"], files["painting"], painted, 32) for each in names]
    votes = Votes(tmp_path / "votes.jsonl")
    app = vote_app(Booth(questions, votes), ["127.0.0.1"])
    server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        yield Served(f"http://127.0.0.1:{listening.getsockname()[1]}", votes, files)
        server.should_exit = True
        thread.join()


def test_a_voter_is_asked_each_question_once_and_the_chosen_picture_is_kept(served: Served) -> None:
    question = served.next("x")
    asked = []
    while question["number"] is not None:
        assert question["done"] == len(asked)
        assert served.next("x") == question  # loaded again, it is the same, with the same sides
        photograph, painting, left, right = map(served.shown, question["pictures"])
        assert (photograph, painting, {left, right}) == ("photograph", "painting", {"one", "two"})
        asked.append((question["number"], left, right))
        question = served.vote(voter=" x ", number=question["number"], choice="right").json()
        kept = served.votes.cast[-1]
        assert (kept.voter, kept.left, kept.right, kept.choice, kept.size) == ("x", left, right, "right", 32)
    assert question == {"number": None, "done": 3, "all": 3}
    assert sorted(number for number, *_ in asked) == [0, 1, 2]
    assert {(vote.content, vote.style) for vote in Votes(served.votes.file).cast} == {
        ("a.jpg", "a.png"),
        ("a.jpg", "b.png"),
        ("b.jpg", "a.png"),
    }
    assert served.vote(voter="x", number=asked[0][0], choice="left").status_code == 409
    assert len(served.votes.cast) == 3
    assert served.next("y")["done"] == 0


def test_sides_and_order_are_drawn_for_each_voter(served: Served) -> None:
    questions = [served.next(f"voter {n}") for n in range(40)]
    left = [served.shown(question["pictures"][2]) for question in questions]
    assert 8 < left.count("one") < 32
    assert {question["number"] for question in questions} == {0, 1, 2}


@pytest.mark.parametrize(
    ("sent", "status", "said"),
    [
        ({"voter": "x", "number": 9, "choice": "left"}, 404, "there is no question 9; load the page again"),
        ({"voter": "x", "number": -1, "choice": "left"}, 404, "there is no question -1"),
        ({"voter": "x", "number": 0, "choice": "up"}, 422, "choice: input should be 'left', 'right' or 'equal'"),
        ({"voter": "x", "number": "none", "choice": "left"}, 422, "number: input should be a valid integer"),
        ({"number": 0, "choice": "left"}, 422, "voter: field required"),
        ({"voter": "  ", "number": 0, "choice": "left"}, 422, "a voter's name has 1 to 40 letters"),
        ({"voter": "x" * 41, "number": 0, "choice": "left"}, 422, "a voter's name"),
        ({"voter": "a\nb", "number": 0, "choice": "left"}, 422, "a voter's name"),
    ],
)
def test_nonsense_is_a_sentence_and_no_vote(served: Served, sent: dict[str, Any], status: int, said: str) -> None:
    answer = served.vote(**sent)
    assert (answer.status_code, said in answer.json()["detail"]) == (status, True), answer.text
    assert not served.votes.file.exists()


def test_other_requests_are_refused(served: Served) -> None:
    assert served.get("/question", params={"voter": ""}).status_code == 422
    assert served.get("/question").json() == {"detail": "voter: field required"}
    assert served.get("/picture/../votes.jsonl").status_code == 404
    assert served.get("/picture/none").json()["detail"].startswith("there is no such picture")
    assert requests.post(f"{served.address}/vote", data="{", timeout=60).status_code == 422
    assert served.get("/", headers={"Host": "evil.example"}).status_code == 400  # a name that leads here by a trick


def test_a_vote_that_can_not_be_kept_is_a_sentence(served: Served) -> None:
    served.votes.file.mkdir()
    answer = served.vote(voter="x", number=0, choice="left")
    assert answer.status_code == 507
    assert "votes.jsonl: the vote can't be written: Is a directory" in answer.json()["detail"]
    assert served.next("x")["done"] == 0


@pytest.fixture
def page(served: Served) -> Iterator[Page]:
    with open_tab(1200, 900) as tab:
        fetched: list[str] = []
        tab.on("request", lambda request: fetched.append(request.url))
        tab.goto(served.address)
        yield tab
        assert [url for url in fetched if not url.startswith(served.address)] == []


@needs_chromium
def test_keys_and_clicks_vote(page: Page, served: Served) -> None:
    page.get_by_label("Your name").fill("1 0 2")  # no votes yet
    page.keyboard.press("Enter")
    expect(page.get_by_text("0 of 3")).to_be_visible()
    for done, act in enumerate(
        (
            lambda: page.keyboard.press("1"),
            lambda: page.keyboard.press("0"),
            lambda: page.get_by_alt_text("the right one").click(),
        ),
        start=1,
    ):
        for picture in page.locator("img").all():
            expect(picture).to_have_js_property("naturalWidth", 32)
        expect(page.locator("body")).not_to_contain_text("one against")
        act()
        expect(page.get_by_text(f"{done} of 3")).to_be_visible()
    expect(page.get_by_text("That was the last one: thank you.")).to_be_visible()
    expect(page.get_by_alt_text("the left one")).to_be_hidden()
    assert [vote.choice for vote in Votes(served.votes.file).cast] == ["left", "equal", "right"]
    page.keyboard.press("1")
    page.reload()
    page.get_by_label("Your name").fill("1 0 2")
    page.get_by_role("button", name="Begin").click()
    expect(page.get_by_text("That was the last one")).to_be_visible()
    assert len(Votes(served.votes.file).cast) == 3


@needs_chromium
def test_faults_are_sentences_on_the_page(page: Page, served: Served) -> None:
    page.get_by_label("Your name").fill("   ")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_have_text("a voter's name has 1 to 40 letters")
    page.get_by_label("Your name").fill("x")
    page.keyboard.press("Enter")
    expect(page.get_by_text("0 of 3")).to_be_visible()
    served.votes.file.mkdir()
    page.get_by_role("button", name="equal").click()
    expect(page.get_by_role("alert")).to_contain_text("the vote can't be written")
    served.votes.file.rmdir()
    page.get_by_role("button", name="equal").click()
    expect(page.get_by_text("1 of 3")).to_be_visible()
    expect(page.get_by_role("alert")).to_have_text("")
    page.context.set_offline(True)
    page.keyboard.press("1")
    expect(page.get_by_role("alert")).to_have_text("The server does not answer; your votes so far are kept.")
    page.context.set_offline(False)
    page.keyboard.press("1")
    expect(page.get_by_text("2 of 3")).to_be_visible()
