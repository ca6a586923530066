"""Chat templates: Jinja that is parsed and never rendered, held against the small part of Jinja that they need.

Only `judge` imports Jinja, which takes time.
"""

from __future__ import annotations

from typing import Final

__all__ = ["MAX_TEMPLATE"]

MAX_TEMPLATE: Final = 512 << 10  # characters; the longest published ones have some 60,000
