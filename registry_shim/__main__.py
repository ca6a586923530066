"""`python -m registry_shim`."""

from registry_shim.cli import main

if __name__ == "__main__":
    main()
