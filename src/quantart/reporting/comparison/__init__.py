"""Evaluated runs side by side: how they compare, and how that is shown."""
