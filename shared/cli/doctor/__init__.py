"""`msisync doctor`: the checks, one module per subject, and what runs them."""
