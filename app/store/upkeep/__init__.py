"""What servers do for the database in the background: a thread for what takes long, and which server does it."""
