"""`msisync status`: how much waits, how much has gone through, and what is in the way."""
