"""What operators do, behind the `msisync` command: one module per command, over the same code as the app."""

import sys

# Where click is installed, as beside uvicorn, httpx would load its own command line whenever it is imported.
sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]
