"""The OpenAI-compatible API: requests in the shapes that every client speaks, answered by the runs' own service."""
