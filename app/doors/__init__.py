"""Who may talk to the server: the hosts it answers to and the headers it sends."""
