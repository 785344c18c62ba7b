"""What was measured, compared and said: tables, plots, pages, words."""
