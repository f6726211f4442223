"""What `dev.py lock` and `dev.py generate` run: files that are made from others. Nothing here is deployed."""
