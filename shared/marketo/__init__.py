"""Adapter to Marketo Engage's REST API."""
