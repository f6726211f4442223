"""For every tier: a slow machine is no failure of a property, and Ctrl-C works however the tests were started."""

import signal

from hypothesis import settings

settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")

# A shell has what it starts in the background ignore SIGINT, and so do all children of it. Tests send it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
