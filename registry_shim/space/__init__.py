"""Room on a node's disk: what takes it, what is in use or pinned, and what goes when there is not enough."""
