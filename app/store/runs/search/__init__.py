"""Text search over many runs: indices of three-letter pieces, and what is not indexed yet, which is read."""
