"""The proof of lazy mounts: real mounts over hosts and registries that are killed, cut off, lying and full."""
