"""What operators set: app settings and sync.toml, validated at once."""
