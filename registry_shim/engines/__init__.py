"""How a node's container engines are wired to the shim, so that there is no way around it."""
