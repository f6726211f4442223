"""Measures the app on the embedded stack: `python -m local.bench`. What it measures is in docs/figures.md."""


class BenchError(Exception):
    """A run gave no figures. The message says what happened, and where to look."""
