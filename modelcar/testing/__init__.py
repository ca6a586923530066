"""For tests, ours and those of whoever builds on modelcar: servers that behave as real ones do, and worse on demand."""
