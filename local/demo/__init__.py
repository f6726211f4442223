"""The demo: thousands of changes on their way from Dynamics to Marketo, and the proof that every one arrived.

`python -m local.demo`, or `python3 dev.py demo`.
"""
