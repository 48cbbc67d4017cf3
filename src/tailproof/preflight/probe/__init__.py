"""What of the preflight needs the network itself: its size, and a few timed steps."""

from tailproof.preflight.probe.structure import structures
from tailproof.preflight.probe.timing import measure

__all__ = ["measure", "structures"]
