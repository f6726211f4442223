"""What the app tells of itself: the table of metrics, spans, what the timer reads, and where it all goes."""
