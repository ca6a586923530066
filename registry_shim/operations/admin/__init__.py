"""The administration API: what a person on the node, or a program with a token, may see and ask of a running shim."""
