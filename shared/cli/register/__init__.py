"""`msisync register` and `unregister`: what Dynamics must post, what it does post, and the writes between the two."""
