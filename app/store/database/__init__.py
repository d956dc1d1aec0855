"""The database file: sessions, migrations, owners, and noticing that it was replaced."""
