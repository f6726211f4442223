"""The console's page of dead letters: what `msisync dead-letters` counts, lists, replays, discards and exports."""
