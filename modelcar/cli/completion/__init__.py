"""Completion in shells: one description of a command line, and a script of it for each shell.

The scripts hold all that does not change, so that pressing Tab starts no Python; the names of images are read from the
local store's index by the shell itself.
"""
