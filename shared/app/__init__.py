"""The composition root: what is made of which parts, once per process."""
