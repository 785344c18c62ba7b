"""Pages in a browser, for eyes and not for scripts: the demo. They need the extra `demo`."""
