import re

from quantart.reporting.comparison.compare import Difference
from quantart.reporting.comparison.plot import forest_plot


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
