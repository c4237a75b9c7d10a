"""A venue's state at one instant: tables checked once and held as columns."""

from riskpolicy.snapshot.snapshot import Snapshot

__all__ = ["Snapshot"]
