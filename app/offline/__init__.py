"""Pages in a single file: opened from a disk, without a server and without a network."""
