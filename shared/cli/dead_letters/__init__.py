"""`msisync dead-letters`: the queue of dead letters and every queue's own dead-letter sub-queue, as one list."""
