"""A file of prompts, wherever one is brought: uploaded, its columns mapped, what becomes of it, kept under a name."""
