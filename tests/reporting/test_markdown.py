from dataclasses import replace

import numpy as np

from quantart.evaluation.baselines import BASELINES
from quantart.reporting.markdown import reconstruction_section, transfer_section, verdicts
from tests.reporting.results import reconstruction_result, transfer_result


def test_verdicts_follow_the_differences_on_the_same_pairs() -> None:
    assert verdicts(transfer_result())["adain"] == {
        "perceptual_net": "worse",
        "gram_net": "better",
        "colour_rgb": "not told apart",
        "fd_net": "worse",
        "kd_net": "worse",
    }


def test_the_section_lists_the_metrics_of_each_verdict_and_a_row_for_each_method() -> None:
    text = transfer_section("discrete", transfer_result())
    assert text.startswith("## Style transfer, discrete\n\n40 held-out pairs of 5 photographs and 8 paintings.")
    (adain,) = (line for line in text.splitlines() if line.startswith("- Against AdaIN"))
    better, worse, same = adain.split("; ")
    assert better.endswith(" `gram_net`")
    assert worse.endswith(" `perceptual_net`, `fd_net`, `kd_net`")
    assert same.endswith(" `colour_rgb`.")
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert table[0] == "| | perceptual_net | gram_net | colour_rgb | fd_net | kd_net | usage | n |"
    assert len(table) == 2 + 1 + len(BASELINES)
    assert table[2].startswith("| the model | ")
    assert table[2].endswith(" | 0.5 (no interval) | 40 |")
    assert " ± " in table[2]


def test_a_warning_stands_beside_a_frechet_distance_of_few_pictures() -> None:
    enough = transfer_result()
    warning = "`fd_net` on 40 pictures with 48 features"
    assert warning not in transfer_section("discrete", enough)
    wide = {method: np.tile(values, (1, 6)) for method, values in enough.features.items()}
    assert warning in transfer_section("discrete", replace(enough, features=wide))


def test_reconstruction_has_a_row_for_each_domain() -> None:
    made = reconstruction_result()
    text = reconstruction_section({"content": made, "style": made})
    assert "| content | 22 ± " in text
    assert "| style | 22 ± " in text
    assert " | 0.25 (no interval) | 3 |" in text
