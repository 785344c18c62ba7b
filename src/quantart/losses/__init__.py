"""Losses of both training stages, as functions of tensors."""
