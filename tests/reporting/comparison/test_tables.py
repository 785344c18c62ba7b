import csv
import io
import re
from dataclasses import replace
from html import unescape

import pytest
from rich.console import Console

from quantart.reporting.comparison.compare import Difference, compare
from quantart.reporting.comparison.page import page
from quantart.reporting.comparison.tables import csv_text, print_comparison
from quantart.reporting.painting import RULE
from tests.reporting.comparison.records import comparison, evaluated, record, textured


def test_the_csv_has_a_row_for_each_metric_and_no_formula() -> None:
    rows = list(csv.DictReader(io.StringIO(csv_text(comparison()))))
    assert [row["metric"] for row in rows] == [
        "perceptual_net",
        "latent_style",
        "ssim",
        "fd_feat",
        "composite_net_feat",
        "usage",
    ]
    first = rows[0]
    assert (first["first_name"], first["second_name"]) == ("one", "'=two")
    assert float(first["difference"]) == pytest.approx(float(first["value_second"]) - float(first["value_first"]))
    assert float(first["low"]) <= float(first["difference"]) <= float(first["high"])
    assert first["verdict"] == "worse"
    assert (rows[-1]["low"], rows[-1]["verdict"]) == ("", "")
    other = compare([evaluated("one", record()), evaluated("two", record(data="two"))])
    assert {row["difference"] for row in csv.DictReader(io.StringIO(csv_text(other)))} == {""}


def test_it_is_said_which_run_paints_and_by_whose_judgement() -> None:
    network = {"stage2.loss.perceptual_network": "net", "stage2.loss.gram_weight": "1.0"}
    runs = [evaluated("one", textured(0.95)), evaluated("two", textured(0.8), **network)]
    file = io.StringIO()
    print_comparison(compare([*runs, evaluated("three", record())]), Console(file=file, width=200))
    said = file.getvalue().splitlines()
    assert [line.split(".")[0] for line in said if line.endswith((" known.", " stage2."))] == [
        "A (one) tints",
        "B (two) paints",
    ]
    assert said.count(RULE) == 1
    shown = unescape(page(compare(runs)))
    assert shown.count(RULE) == shown.count("A (one) tints") == shown.count("B (two) paints") == 1
    assert RULE not in unescape(page(comparison()))


def test_the_longest_metric_leaves_room_for_its_verdict() -> None:
    metric = "composite_squeezenet1_1_efficientnet_lite0"
    long = Difference(metric, 0.5, -0.000313, -0.000941, 0.000255, "not told apart")
    found = comparison()
    found = replace(found, pairs=[found.pairs[0]._replace(differences=[long])])
    file = io.StringIO()
    print_comparison(found, Console(file=file, width=80))
    (row,) = [line for line in file.getvalue().splitlines() if line.startswith(metric) and "0.000313" in line]
    assert row.endswith("not told apart")


def test_the_terminal_shows_it_in_80_columns() -> None:
    file = io.StringIO()
    print_comparison(comparison(evil="[red]"), Console(file=file, width=80))
    said = file.getvalue()
    assert max(map(len, said.splitlines())) <= 80
    assert re.search(r"perceptual_net .* worse", said)
    assert "one[red]" in said
    assert "Parameters that differ" in said
    assert "95 % for its metric alone" in said
