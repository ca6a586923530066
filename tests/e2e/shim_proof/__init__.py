"""Attacks on the shim through its command line and its sockets; nothing here imports how it is built."""
