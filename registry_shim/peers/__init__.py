"""Nodes as one distributed cache: who is there, whose chunk is whose, and the way from one node to another.

`ring` says which member is a chunk's home, `membership` who the members are and how they do, `router` whom this node
asks, `source` how it asks, `api` what it answers.
"""
