"""The console's page of parked records: who waits for whom and why, and what `msisync resync --all-parked` sends on."""
