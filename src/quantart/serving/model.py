"""The packaged model: MLflow copies this file into the model and runs it to load the model (models from code)."""

from __future__ import annotations

import base64
import logging
import threading
import time
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlflow.models
import pandas as pd
from mlflow.environment_variables import MLFLOW_SCORING_SERVER_REQUEST_TIMEOUT
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import DEADLINE_EXCEEDED, INVALID_PARAMETER_VALUE
from mlflow.pyfunc import PythonModel, PythonModelContext

from quantart.errors import UserError
from quantart.graphs.network import have_graphs
from quantart.images.arrays import encode_png
from quantart.machine.device import default_device, surely_cpu
from quantart.models.alpha_beta import Fidelity, checked_fidelity
from quantart.serving.folder import SUMS, check_networks, served_version
from quantart.serving.requests import Limits, Row, read_fidelity, read_refine, read_rows, read_size
from quantart.stylize.painter import Painter
from quantart.vocabulary.names import VARIANTS

if TYPE_CHECKING:
    from quantart.stylize.stylizer import Stylizer

log = logging.getLogger("uvicorn.quantart")  # shown by the server, whose logger is its parent, and silent elsewhere


class QuantArtModel(PythonModel):  # type: ignore[misc]  # MLflow comes without types
    """Rows with `content` and `style` to rows with `image`, `width`, `height`, `model_version`, `seconds`, `refined`.

    `image` is the base64 of a PNG of `width` × `height` pixels, `model_version` comes from `served_version`, `seconds`
    is what the network needed for the row, without waiting for other requests, and `refined` how many steps it made.
    The parameters hold for all rows of a request: `alpha` and `beta` are visual and style fidelity (`FidelityControl`),
    `size` is the long side in pixels, `refine` the most steps of refining (`Stylizer`). The model's configuration is
    `Limits`. Networks that `have_graphs` need torch, which takes seconds to import, on GPUs and for refining alone.
    """

    def load_context(self, context: PythonModelContext) -> None:
        self._folders = {each: Path(context.artifacts[each]) for each in VARIANTS if each in context.artifacts}
        self._sums = Path(context.artifacts[SUMS])
        folders = self._folders.values()
        check_networks(folders, self._sums)
        self._limits = Limits.of(context.model_config)
        self._seconds = self._limits.max_seconds
        if MLFLOW_SCORING_SERVER_REQUEST_TIMEOUT.is_set():  # after that the server has answered without us
            self._seconds = min(self._seconds, MLFLOW_SCORING_SERVER_REQUEST_TIMEOUT.get())
        self._painter: Painter[Any, Any]
        if surely_cpu() and have_graphs(*folders):
            from quantart.stylize.graph_painter import GraphPainter  # a network without graphs needs no onnxruntime

            self._painter = GraphPainter(*folders, style_cache=self._limits.style_cache)
        else:
            self._painter = self._by_torch
        self._painting = threading.Semaphore(self._limits.at_once)
        self._version = served_version(self._sums.parents[1])

    @cached_property
    def _by_torch(self) -> Stylizer:
        from quantart.models.fidelity import FidelityControl
        from quantart.models.stage_2 import ExperimentStage2
        from quantart.stylize.stylizer import Stylizer

        check_networks(self._folders.values(), self._sums)  # again: they are read here, maybe long after the start
        networks = FidelityControl.of(*map(ExperimentStage2.from_pretrained, self._folders.values()))
        return Stylizer(networks.to(default_device()), style_cache=self._limits.style_cache)

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        deadline = time.monotonic() + self._seconds
        try:
            given = read_fidelity(params or {})
            fidelity = checked_fidelity(given.get("alpha"), given.get("beta", 1.0), self._folders)
            size = read_size(params or {}, self._limits)
            refine = read_refine(params or {}, self._limits)
            rows = read_rows(model_input, size, self._limits, refined=refine > 0)
            answers = [self._answer(row, fidelity, deadline, refine, len(rows)) for row in rows]
        except UserError as error:
            # MLflow's server answers 400 to this code, and a traceback to any other error
            raise MlflowException(str(error), INVALID_PARAMETER_VALUE) from error
        seconds, styles = sum(answer["seconds"] for answer in answers), self._painter.styles.figures()
        text = "%d painted in %.3f s; styles so far: %d found, %d encoded, %d kept in %.1f MB"
        log.info(text, len(answers), seconds, styles.hits, styles.misses, styles.entries, styles.bytes / 1e6)
        return pd.DataFrame(answers)

    def _answer(self, row: Row, fidelity: Fidelity, deadline: float, refine: int, rows: int) -> dict[str, Any]:
        free = self._painting.acquire(timeout=max(0, deadline - time.monotonic()))
        try:
            if not free or time.monotonic() >= deadline:
                # MLflow answers 504 to a client that still waits; nothing more is painted for it
                fault = f"row {row.number}: not started after {self._seconds} s"
                raise MlflowException(f"{fault}; send fewer or smaller pictures, or try again later", DEADLINE_EXCEEDED)
            # not earlier: decoded pictures take far more memory than their files
            content, style = row.decode(self._limits)
            painter = self._by_torch if refine else self._painter
            start = time.monotonic()
            enough = start + (deadline - start) / (rows - row.number)  # rows that follow get their share of the time
            steps = 0

            def go_on() -> bool:
                nonlocal steps
                steps += (more := time.monotonic() < enough)
                return more

            image = painter.paint(content, style, fidelity, max(row.height, row.width), refine, go_on)
            seconds = time.monotonic() - start
        finally:
            if free:
                self._painting.release()
        height, width = image.shape[:2]
        return {
            "image": base64.b64encode(encode_png(image)).decode(),
            "width": width,
            "height": height,
            "model_version": self._version,
            "seconds": round(seconds, 4),
            "refined": steps,
        }


mlflow.models.set_model(QuantArtModel())
