"""What each peer runs: as a competent user of it would write it, batching included.

These run in the peer's own environment and import nothing of this project but each
other.
"""
