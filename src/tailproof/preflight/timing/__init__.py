"""The parts of the preflight that need the network itself: its size, and a few timed steps."""

from tailproof.preflight.timing.network_size import structures
from tailproof.preflight.timing.step_time import measure

__all__ = ["measure", "structures"]
