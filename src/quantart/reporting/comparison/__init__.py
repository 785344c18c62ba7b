"""Evaluated runs side by side: the comparison, and how it is shown."""
