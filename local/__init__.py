"""The embedded stack: everything msisync talks to, on one machine. Nothing of it is deployed."""
