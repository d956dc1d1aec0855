"""Answers of servers: runs that one answers alone (``runs``, which needs no torch), and a tier of a cascade
(``attempt``)."""
