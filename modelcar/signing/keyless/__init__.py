"""Signing and verifying by identity: a certificate for minutes, a transparency log for ever, no key to keep.

All of it runs on the library `sigstore` (extra `modelcar[keyless]`), which is imported when it is first needed.

`identity` (whose certificate it is) ← `library` (the import, and what its failures mean) ← `trust` (roots of trust) ←
`authority` (verifying) ← `token` (who am I) ← `signatory` (signing).
"""
