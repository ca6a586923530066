"""Keys: files, environment variables and key management services; signing and verifying with them.

`key` (what a key can do) ← `algorithms` (which signatures each kind makes) ← `pem`, `encrypted` (how keys are written)
← `load` (where they are found) ← `generate` (new ones).
"""
