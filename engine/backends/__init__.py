"""Who runs a model: Gearbox's own decoder, or transformers as it comes."""
