"""A model as judge of an experiment's answers: what it is asked, its work under a budget, and its own audit."""
