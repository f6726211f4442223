"""For every tier: a slow machine is no failure of a property."""

from hypothesis import settings

settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")
