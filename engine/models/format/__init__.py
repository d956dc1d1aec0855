"""A checkpoint as files: what its config promises, and whether the files keep it. No weight is read here."""
