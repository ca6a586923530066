"""A small Sigstore for tests: certificate authority, certificate log, transparency log, identity provider.

Everything is signed with keys of its own and nothing is mocked: the library verifies what is made here as it verifies
what the public services make.
"""

from tests.support.sigstore.instance import Options, Sigstore, trusted_root
from tests.support.sigstore.service import serve_sigstore

__all__ = ["Options", "Sigstore", "serve_sigstore", "trusted_root"]
