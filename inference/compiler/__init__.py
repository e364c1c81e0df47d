"""Model files → artifacts. Run as a child process: `python -m inference.compiler`."""
