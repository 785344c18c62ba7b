"""The packaged model: MLflow copies this file into the model and runs it to load the model (models from code)."""

from __future__ import annotations

import base64
from typing import Any

import mlflow.models
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.pyfunc import PythonModel, PythonModelContext

from quantart.device import default_device
from quantart.errors import UserError
from quantart.images import ImageError, Picture, encode_png
from quantart.models.fidelity import Fidelity, FidelityControl
from quantart.models.stage_2 import ExperimentStage2
from quantart.serving.requests import RequestError, read_params, read_rows
from quantart.serving.stylizer import Stylizer


class QuantArtModel(PythonModel):  # type: ignore[misc]  # MLflow comes without types
    """Rows with `content` and `style` to rows with `image` (base64 of a PNG), `width` and `height` in pixels.

    The parameters `alpha` and `beta` are visual and style fidelity (`FidelityControl`), for all rows of a request.
    """

    def load_context(self, context: PythonModelContext) -> None:
        networks = [ExperimentStage2.from_pretrained(folder) for folder in context.artifacts.values()]
        self._control = FidelityControl.of(*networks).to(default_device())
        self._stylizer = Stylizer(self._control)

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        try:
            fidelity = self._control.settle(**read_params(params))
            rows = read_rows(model_input)
            return pd.DataFrame([self._answer(row, *pictures, fidelity) for row, pictures in enumerate(rows)])
        except UserError as error:
            # MLflow's server answers 400 to this code, and to anything else with a traceback
            raise MlflowException(str(error), INVALID_PARAMETER_VALUE) from error

    def _answer(self, row: int, content: Picture, style: Picture, fidelity: Fidelity) -> dict[str, Any]:
        try:
            image = self._stylizer.stylize(content, style, *fidelity)
        except ImageError as error:
            raise RequestError(f"row {row}, column {error}") from error
        height, width = image.shape[:2]
        return {"image": base64.b64encode(encode_png(image)).decode(), "width": width, "height": height}


mlflow.models.set_model(QuantArtModel())
