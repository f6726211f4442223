"""What both vendors' clients share: retries, tokens, and the count of calls."""
