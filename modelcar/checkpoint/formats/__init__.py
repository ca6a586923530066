"""Weight file formats: what a file is, and what its header says. Nothing here reads weights or runs anything."""
