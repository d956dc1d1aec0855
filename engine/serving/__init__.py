"""From a request to its events: the thread that runs models, the pool that keeps them, and how each is answered."""
