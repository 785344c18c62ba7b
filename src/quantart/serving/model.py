"""The packaged model: MLflow copies this file into the model and runs it to load the model (models from code)."""

from __future__ import annotations

import base64
import logging
import threading
import time
from pathlib import Path
from typing import Any

import mlflow.models
import pandas as pd
from mlflow.environment_variables import MLFLOW_SCORING_SERVER_REQUEST_TIMEOUT
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import DEADLINE_EXCEEDED, INVALID_PARAMETER_VALUE
from mlflow.pyfunc import PythonModel, PythonModelContext

from quantart.errors import UserError
from quantart.images.arrays import encode_png
from quantart.machine.device import default_device
from quantart.models.alpha_beta import Fidelity
from quantart.models.fidelity import FidelityControl
from quantart.models.stage_2 import ExperimentStage2
from quantart.serving.folder import SUMS, check_networks, served_version
from quantart.serving.requests import Limits, Row, read_fidelity, read_refine, read_rows, read_size
from quantart.stylize.stylizer import Stylizer
from quantart.vocabulary.names import VARIANTS

log = logging.getLogger("uvicorn.quantart")  # shown by the server, whose logger is its parent, and silent elsewhere


class QuantArtModel(PythonModel):  # type: ignore[misc]  # MLflow comes without types
    """Rows with `content` and `style` to rows with `image`, `width`, `height`, `model_version`, `seconds`, `refined`.

    `image` is the base64 of a PNG of `width` × `height` pixels, `model_version` comes from `served_version`, `seconds`
    is what the network needed for the row, without waiting for other requests, and `refined` how many steps it made.
    The parameters hold for all rows of a request: `alpha` and `beta` are visual and style fidelity (`FidelityControl`),
    `size` is the long side in pixels, `refine` the most steps of refining (`Stylizer`). The model's configuration is
    `Limits`.
    """

    def load_context(self, context: PythonModelContext) -> None:
        folders = [Path(context.artifacts[variant]) for variant in VARIANTS if variant in context.artifacts]
        check_networks(folders, Path(context.artifacts[SUMS]))
        self._limits = Limits.of(context.model_config)
        self._seconds = self._limits.max_seconds
        if MLFLOW_SCORING_SERVER_REQUEST_TIMEOUT.is_set():  # after that the server has answered without us
            self._seconds = min(self._seconds, MLFLOW_SCORING_SERVER_REQUEST_TIMEOUT.get())
        self._control = FidelityControl.of(*map(ExperimentStage2.from_pretrained, folders)).to(default_device())
        self._stylizer = Stylizer(self._control, style_cache=self._limits.style_cache)
        self._painting = threading.Semaphore(self._limits.at_once)
        self._version = served_version(folders[0].parents[1])

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        deadline = time.monotonic() + self._seconds
        try:
            fidelity = self._control.fidelity(**read_fidelity(params or {}))
            size = read_size(params or {}, self._limits)
            refine = read_refine(params or {}, self._limits)
            rows = read_rows(model_input, size, self._limits, refined=refine > 0)
            answers = [self._answer(row, fidelity, deadline, refine, len(rows)) for row in rows]
        except UserError as error:
            # MLflow's server answers 400 to this code, and a traceback to any other error
            raise MlflowException(str(error), INVALID_PARAMETER_VALUE) from error
        seconds, styles = sum(answer["seconds"] for answer in answers), self._stylizer.styles.figures()
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
            start = time.monotonic()
            enough = start + (deadline - start) / (rows - row.number)  # rows that follow get their share of the time
            steps = 0

            def go_on() -> bool:
                nonlocal steps
                steps += (more := time.monotonic() < enough)
                return more

            image = self._stylizer.paint(content, style, fidelity, max(row.height, row.width), refine, go_on)
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
