from __future__ import annotations

import base64
import re
from html.parser import HTMLParser

import numpy as np

from quantart.images.decode import decode_image
from quantart.reporting.comparison.compare import Difference, compare
from quantart.reporting.comparison.page import forest_plot, page
from tests.reporting.comparison.records import comparison, evaluated, record

EVIL = '<script>alert(1)</script>"onload="x'


class Elements(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_the_page_shows_verdict_parameters_metrics_and_pictures_and_needs_nothing_else() -> None:
    elements = Elements(page(comparison()))
    text = " ".join("".join(elements.text).split())
    assert "=two) against A (one), on 24 pairs: worse beyond noise on perceptual_net" in text
    assert "lr1e-32e-3" in text.replace(" ", "")
    assert "B − A" in text
    tags = [tag for tag, _ in elements.found]
    assert tags.count("svg") == 1
    assert "script" not in tags
    assert "link" not in tags
    pictures = [attributes["src"] or "" for tag, attributes in elements.found if tag == "img"]
    assert len(pictures) == 2 * 5  # two pairs: content, style, both runs, one AdaIN column for both
    assert all(source.startswith("data:image/webp;base64,") for source in pictures)
    shades = [_shade(source) for source in pictures[:5]]
    assert np.allclose(shades, [20, 90, 201, 202, 150], atol=2)
    links = [value for _, attributes in elements.found for name, value in attributes.items() if name in {"src", "href"}]
    assert all(str(link).startswith(("data:", "#")) for link in links)


def _shade(source: str) -> float:
    return float(decode_image(base64.b64decode(source.split(",")[1]), max_pixels=10**6).mean())


def test_names_of_files_runs_and_parameters_can_not_become_markup() -> None:
    made = page(comparison(evil=EVIL))
    elements = Elements(made)
    assert not any(tag == "script" or "onload" in attributes for tag, attributes in elements.found)
    assert EVIL in "".join(elements.text)
    assert "default-src 'none'" in made


def test_runs_on_different_data_have_galleries_of_their_own_and_no_plot() -> None:
    made = page(compare([evaluated("one", record()), evaluated("two", record(data="two"))]))
    assert "Pictures, 2" in made
    assert "<svg" not in made
    assert "can&#39;t be compared" in made


def test_a_huge_difference_hides_no_other() -> None:
    def row(metric: str, percent: float) -> Difference:
        return Difference(metric, 1.0, percent / 100, percent / 110, percent / 90, "worse")

    assert "logarithmic" not in forest_plot([row("small", 2), row("large", 80)])
    drawn = forest_plot([row("small", 2), row("huge", 400)])
    assert "logarithmic beyond 10 %" in drawn
    view = float(re.search(r'viewBox="0 0 (\S+) ', drawn)[1])  # type: ignore[index]
    small, huge = (float(x) for x in re.findall(r'<use xlink:href="#m\w+" x="(\S+)" y="\S+" style="fill: #', drawn))
    assert huge + 0.1 * view < small < view
    assert huge > 0
