"""Blobs that arrive in pieces: what is here, what is missing, who has it, and in which order it is fetched.

One cache stands under downloads, the shim and lazy mounts: `grid` cuts a blob into chunks, `partial` keeps those that
are here, `sources` says where others come from, `transfer` moves them.
"""
