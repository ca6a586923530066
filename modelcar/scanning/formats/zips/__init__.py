"""Zip archives: what the directory says, what the members say, and where the two disagree."""
