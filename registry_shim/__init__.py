"""registry-shim: the registry that runs on every node."""
