"""The product: what function_app.py uses. Nothing in here knows local/ or tests/."""
