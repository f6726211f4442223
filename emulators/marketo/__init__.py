"""A strict Marketo Engage REST API for one machine: the limits, error levels and data rules of the real one."""
