"""The sidebar: what the engine and the database are doing."""
