"""Who may talk to the server: the names it answers to, the keys of its API, who signs in, and the headers it sends."""
