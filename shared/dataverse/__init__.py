"""Adapter to Dataverse: sign-in and Web API."""
