"""Stored runs: tables, records, reading, statistics, export."""
