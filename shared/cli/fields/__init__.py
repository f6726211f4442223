"""`msisync fields`: both sides' schema, proposals for sync.toml, and what is wrong with its mappings."""
