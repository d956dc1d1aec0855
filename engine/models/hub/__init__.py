"""The model hub: what it has, what of it runs here, and how it gets here."""
