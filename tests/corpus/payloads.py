"""What the malicious specimens do when they are loaded: create the file that an environment variable names.

Without that variable they write nothing to /dev/null. So each can be set off for proof, and none can do harm.
"""

from __future__ import annotations

from typing import Final

__all__ = ["EXPRESSION", "MARKER", "SHELL", "STATEMENTS"]

MARKER: Final = "MODELCAR_CORPUS_MARKER"

SHELL: Final = f': > "${{{MARKER}:-/dev/null}}"'
EXPRESSION: Final = f"open(__import__('os').environ.get('{MARKER}', '/dev/null'), 'w').close()"
STATEMENTS: Final = f"import os\nopen(os.environ.get('{MARKER}', os.devnull), 'w').close()\n"
