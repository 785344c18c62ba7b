"""QuantArt: vector-quantised style transfer (Huang et al., CVPR 2023) and the experiment platform around it."""

import os

__version__ = "0.1.0"

for _variable in ("MLFLOW_DISABLE_TELEMETRY", "ORT_DISABLE_TELEMETRY"):
    os.environ.setdefault(_variable, "1")  # MLflow and onnxruntime tell their makers how they are used
