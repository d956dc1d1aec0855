"""Conversations, and measuring their turns again in other settings."""
