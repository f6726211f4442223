"""Dynamics to Marketo: from a notification to the record in Marketo, and everything that may stand in its way."""
