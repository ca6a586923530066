"""How a release is made: docs/how-to/release.md, and why so: docs/decisions/0029-release.md.

Reads as the way of the bytes: source → wheels → image → bundle → sbom → provenance → sign.
"""
