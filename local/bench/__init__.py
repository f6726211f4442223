"""Measures the app on the embedded stack: `python -m local.bench`. What it measures is in docs/figures.md."""
