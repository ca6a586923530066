"""Signatures and attestations as cosign makes them, and policies over them.

Source of the formats: cosign's bundle and simple-signing specifications, in-toto Statement v1, DSSE 1.0.
"""
