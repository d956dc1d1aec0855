"""The commands ``gearbox experiment …``, beside a server that may be running: an experiment run from a file and
reported, an autopilot, a judge. Run again, each goes on where it was.

Exit codes: 0, 1 for a failure, 2 for bad input, 130 interrupted.
"""
