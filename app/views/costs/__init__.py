"""What answers cost, and where machines of one's own are cheaper than an API."""
