"""Pushes and pulls by the real command, against every dialect and fault, counted at a registry in another process.

Short by default; `TRANSFER_PROOF_MIB=1024 TRANSFER_PROOF_SEEDS=5 make soak` is the proof at full size.
"""
