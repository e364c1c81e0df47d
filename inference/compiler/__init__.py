"""Model files → artifacts. Runs as a child process: `python -m inference.compiler`."""
