"""What others did to a run: nothing, and too much."""

from __future__ import annotations

from engine.types import Disturbance

QUIET = Disturbance(
    seconds=2.0, cores=2, threads=2, programs_s=0.04, threads_s=0.02, ran_s=3.9, waited_s=0.04, stolen_s=0.0
)
DISTURBED = Disturbance(
    seconds=2.0, cores=2, threads=2, programs_s=1.5, threads_s=0.02, ran_s=2.4, waited_s=1.6, stolen_s=0.0
)
WHY = "The engine waited 40 % of the time for a core (other programs used 38 % of the 2 cores)."
"""What is said of the second."""
