"""Where the installed `msisync` begins: imports take a moment, and Ctrl-C during them is no reason for a traceback."""

import sys


def main() -> int:
    """Run the command line and give its exit code."""
    try:
        from .main import main as run  # noqa: PLC0415  (see above)

        return run()
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted: stopped by the keyboard; nothing has been done\n")
        return 130
