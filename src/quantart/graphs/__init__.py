"""Lean networks that paint, as ONNX graphs, which onnxruntime runs on a CPU without torch."""
