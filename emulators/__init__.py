"""Emulators of what an app on Azure talks to, usable by others: they import nothing of shared/, local/ or tests/."""
