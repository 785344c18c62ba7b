"""Stylising pictures with trained networks, at any size."""
