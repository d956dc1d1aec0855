"""Prompts that somebody brings: files read as tables, columns mapped, checkers guessed, templates; some of many."""
