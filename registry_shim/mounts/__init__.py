"""The shim as the host of mounts: their bytes come from its cache, through its gate, with its credentials."""
