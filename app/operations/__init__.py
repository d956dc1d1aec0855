"""What keeps a server in order: today the traffic that it is tested with."""
