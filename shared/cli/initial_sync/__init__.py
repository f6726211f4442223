"""`msisync initial-sync`: brings all existing rows to Marketo, by a run of the app that needs no operator."""
