"""Pages in a browser, for eyes and not for scripts: the demo, which needs the extra `demo`, and votes."""
