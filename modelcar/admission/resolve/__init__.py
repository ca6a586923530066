"""Facts about the images of a pod: found out at registries in bounded time, remembered by digest.

`needs` (what is to be found out of which image) → `logins` (as whom) → `access` (what a tag means, to whom) →
`contents`, `layers` (what an image says of itself) → `verdicts` (what policies say of it) → `images`, the `Resolver`.
`memory` and `lanes` keep it quick, and what is slow away from the rest.
"""

from modelcar.admission.resolve.images import Images
from modelcar.admission.resolve.logins import PullSecret, PullSecrets

__all__ = ["Images", "PullSecret", "PullSecrets"]
