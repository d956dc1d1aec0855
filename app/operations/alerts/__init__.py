"""Alerts: the rules, how they are looked at, who is told, and which gear to look at first."""
