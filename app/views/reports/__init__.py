"""One report of a run each: cascade, cache, drafts, losslessness, tokens, figures."""
