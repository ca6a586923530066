"""A look at what modelcar needs on this machine: what is well, what is worth knowing, what is wrong and what to do."""
