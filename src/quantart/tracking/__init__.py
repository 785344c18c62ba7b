"""Experiment tracking with MLflow: where runs are kept, what a run holds, the links from stage to stage."""
