"""Tar archives: read leniently for what is in them, and strictly for whether all programs would agree."""
