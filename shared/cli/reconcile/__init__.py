"""`msisync reconcile`: has the app compare the values of both sides, and send what differs."""
