"""Measurements. Run with ``python -m tests.benchmarks NAME [--json PATH]``, alone on the machine."""
