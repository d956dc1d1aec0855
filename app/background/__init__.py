"""Work that goes on while pages come and go: jobs, what is computed once, the time left."""
