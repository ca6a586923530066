"""A mirror of upstream registries: what nodes pull through it is checked, kept, and served to them again.

As a request goes: `routing` (whose is it) → `access` (may this client read it) → `manifests`, `tags`, `referrers`
(documents, through `library`) or `blobs` (through the cache, cut as `images` knows) → the answer. `upstreams` asks the
registries.
"""
