"""Data alone: the model `quantart/open`, which comes with the package (see `quantart.models.shipped`)."""
