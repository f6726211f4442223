"""`msisync show`: one record in every system, and the verdict on it."""
