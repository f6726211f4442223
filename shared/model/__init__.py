"""Pure values that everything else speaks of: no I/O, and no import of another package of the product."""
