"""Turning measurements into figures, tables, pages, words and records."""
