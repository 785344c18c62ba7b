from dataclasses import replace

import numpy as np
import pandas as pd

from quantart.evaluation.baselines import BASELINES, COPIED_STYLE
from quantart.evaluation.evaluate import EvaluationResult
from quantart.evaluation.summary import Measurement, measurements, summarise
from quantart.reporting.markdown import reconstruction_section, transfer_section, verdicts
from quantart.vocabulary.metrics import MODEL

PAIRS = 40


def evaluation() -> EvaluationResult:
    """A model that is better than AdaIN in `gram`, worse in `lpips`, the same but for noise in `colour_rgb`."""
    draw = np.random.default_rng(0)
    hardness = draw.normal(100.0, 20.0, PAIRS)  # pairs differ much more than methods
    parts = []
    for method in (MODEL, *BASELINES):
        better = 1.0 if method == MODEL else 0.0
        columns = {
            "lpips": hardness + better + draw.normal(0, 0.1, PAIRS),
            "gram": hardness - better + draw.normal(0, 0.1, PAIRS),
            "colour_rgb": hardness + draw.normal(0, 0.1, PAIRS),
        }
        names = {"content": [f"{i % 5}.jpg" for i in range(PAIRS)], "style": [f"{i % 8}.jpg" for i in range(PAIRS)]}
        parts.append(pd.DataFrame({"method": method, "pair": range(PAIRS), **names, **columns}))
    table = pd.concat(parts, ignore_index=True)
    common = draw.normal(size=(PAIRS, 8)).astype(np.float32)
    features = {baseline: common + 0.1 * draw.normal(size=(PAIRS, 8)).astype(np.float32) for baseline in BASELINES}
    features = {MODEL: common + 2.0} | features | {COPIED_STYLE: common}
    names = ["fd_net", "kd_net"]
    measured = {
        method: measurements(table[table["method"] == method], values, common, names)
        | {"usage": Measurement(0.5, None)}
        for method, values in features.items()
    }
    return EvaluationResult("digest", table, summarise(table, measured), measured, features)


def test_verdicts_follow_the_differences_on_the_same_pairs() -> None:
    assert verdicts(evaluation())["adain"] == {
        "lpips": "does not beat it on",
        "gram": "beats it on",
        "colour_rgb": "cannot be told apart from it on",
        "fd_net": "does not beat it on",
        "kd_net": "does not beat it on",
    }


def test_the_section_says_where_the_model_does_not_win() -> None:
    text = transfer_section("discrete", evaluation())
    assert text.startswith("## Style transfer, discrete\n\n40 held-out pairs of 5 photographs and 8 paintings.")
    assert (
        "- Against AdaIN on the latents, untrained: the model beats it on `gram`; "
        "does not beat it on `lpips`, `fd_net`, `kd_net`; cannot be told apart from it on `colour_rgb`."
    ) in text
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert table[0] == "| | lpips | gram | colour_rgb | fd_net | kd_net | usage | n |"
    assert len(table) == 2 + 1 + len(BASELINES)
    assert table[2].startswith("| the model | ")
    assert table[2].endswith(" | 0.5 (no interval) | 40 |")
    assert " ± " in table[2]


def test_a_warning_stands_beside_a_frechet_distance_of_few_pictures() -> None:
    enough = evaluation()
    assert "mostly an effect of their number" not in transfer_section("discrete", enough)
    wide = {method: np.tile(values, (1, 6)) for method, values in enough.features.items()}
    text = transfer_section("discrete", replace(enough, features=wide))
    assert "`fd_net` on 40 pictures with 48 features: mostly an effect of their number" in text


def test_reconstruction_has_a_row_for_each_domain() -> None:
    table = pd.DataFrame({"method": MODEL, "file": list("abc"), "psnr": [20.0, 22.0, 24.0]})
    same = np.ones((3, 4), np.float32)
    measured = {MODEL: measurements(table, same, same, []) | {"usage": Measurement(0.25, None)}}
    made = EvaluationResult("digest", table, summarise(table, measured), measured, {MODEL: same})
    text = reconstruction_section({"content": made, "style": made})
    assert "| content | 22 ± " in text
    assert "| style | 22 ± " in text
    assert " | 0.25 (no interval) | 3 |" in text
