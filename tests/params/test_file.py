"""The text of params.yaml: it reads back to the same values, and says what they mean."""

from __future__ import annotations

from pathlib import Path

import yaml

from quantart.params.file import WIDTH, Change, as_yaml, changes, descriptions, load_params, read_comments, render

SHIPPED = Path(__file__).parents[1] / "small.yaml"


def test_what_is_written_reads_back_to_the_same(tmp_path: Path) -> None:
    params = load_params(SHIPPED)
    path = tmp_path / "params.yaml"
    path.write_text(render(params, descriptions(params), "head"))
    assert load_params(path) == params
    assert path.read_text().startswith("# head\nseed: 0\n\ndata:\n")


def test_every_value_is_written_even_where_it_is_the_default() -> None:
    params = load_params(SHIPPED)
    assert yaml.safe_load(render(params, {})) == params.model_dump()


def test_comments_stand_beside_their_values_and_above_them_where_the_line_would_be_long() -> None:
    params = load_params(SHIPPED)
    long = "words " * 60
    lines = render(params, {"data": "pictures", "model.ch": "short", "stage2.loss.style_weight": long}).splitlines()
    assert max(map(len, lines)) <= WIDTH
    assert "  ch: 12                           # short" in lines
    assert "data:                              # pictures" in lines
    place = lines.index("    style_weight: 10.0")
    above = [line for line in lines[place - 4 : place] if line.startswith("    # words")]
    assert sum(line.count("words") for line in above) == 60


def test_comments_are_read_by_key_and_hashes_inside_values_are_none() -> None:
    text = (
        "seed: 0 # luck\n"
        "data:   # the pictures\n"
        "  content: 'my # photos'\n"
        '  style: "a#b"  #  no spaces \n'
        "model:\n"
        "  ch_mult: [1, 2]  # levels\n"
        "  n_embed:\n"
        "  # a line of its own\n"
        "  dropout: 0.0\n"
    )
    assert read_comments(text) == {
        "seed": "luck",
        "data": "the pictures",
        "data.style": "no spaces",
        "model.ch_mult": "levels",
    }


def test_the_shipped_files_comments_are_found() -> None:
    found = read_comments(SHIPPED.read_text())
    assert found["data.resolution"] == "side in pixels of the square that the networks see"
    assert found["stage1.base"] == "one VQGAN of both domains, from which both continue"
    assert "stage1" not in found


def test_changes_name_each_value_once_in_the_order_of_the_new() -> None:
    old = {"a": {"x": 1, "list": [1, 2], "gone": True}, "table": None, "same": 1.0}
    new = {"same": 1.0, "table": {"column": "file"}, "a": {"list": [1, 3], "x": 1, "come": "on"}}
    assert changes(old, new) == [
        Change("table", None, {"column": "file"}),
        Change("a.list", [1, 2], [1, 3]),
        Change("a.come", None, "on"),
        Change("a.gone", True, None),
    ]
    assert str(changes(old, new)[0]) == "table: null -> {column: file}"


def test_values_are_shown_as_yaml_has_them() -> None:
    assert [as_yaml(v) for v in (None, True, 2.25e-5, 1e-5, [1, 2], "photos", "null")] == [
        "null",
        "true",
        "2.25e-05",
        "1.0e-05",
        "[1, 2]",
        "photos",
        "'null'",
    ]
