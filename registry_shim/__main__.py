"""`python -m registry_shim`."""

import sys

from registry_shim.cli import main

if __name__ == "__main__":
    sys.exit(main())
