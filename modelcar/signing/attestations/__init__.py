"""What can be said about a model image: predicates as pure functions of what the image says about itself.

Each file makes the predicate of one type; `docs/how-to/attest.md` says what is in them and what they are worth.
Source of the formats: SLSA provenance v1, CycloneDX 1.6, OpenSSF Model Signing v1.0, cosign's attestation types.
"""
