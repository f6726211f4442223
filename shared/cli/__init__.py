"""What operators do, behind the `msisync` command: one module per command, over the same code as the app."""
