"""The demo as the page of a hosted space: this file, and a `requirements.txt` that says `quantart[demo]`.

`QUANTART_MODELS` names other models than the one that comes with the package, separated by spaces: folders beside this
file, or MLflow addresses (docs/demo.md).
"""

import os

from quantart.pages.demo import open_demo

open_demo(None, os.environ.get("QUANTART_MODELS", "quantart/open").split(), host="0.0.0.0")  # noqa: S104 - a space has a proxy
