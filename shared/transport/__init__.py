"""What both vendors' clients share: retries, tokens, and the number of calls."""
