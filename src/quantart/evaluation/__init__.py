"""Measuring a trained model, and the baselines it must beat, on held-out pictures."""
