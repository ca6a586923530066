"""What the webhook does with a pod, without any server: read, rewrite, patch; the time of one in the middle.

python -m tests.bench.programs.rewriting
"""

from __future__ import annotations

import json
import time
from statistics import median

from modelcar.admission.admit import Caller, admit
from modelcar.admission.facts import ImageFact, User
from modelcar.admission.patch import patch_of
from modelcar.admission.settings import AdmissionSettings
from modelcar.oci import Digest
from tests.bench.programs.reviews import review
from tests.support.pods import Known

_IMAGE = "registry.example/acme/llm:v1"
_TIMES = 2001


def main() -> None:
    pod = json.loads(review(_IMAGE, 0))["request"]["object"]
    fact = ImageFact(digest=Digest.of(b"model"), user=User(uid=1000, gid=1000), groups={})
    resolver, caller, settings = Known(images={_IMAGE: fact}), Caller(namespace="models"), AdmissionSettings()
    walls = []
    for _ in range(_TIMES):
        began = time.perf_counter()
        if not patch_of(pod, admit(pod, resolver, caller, settings).pod):
            raise SystemExit("the pod is not rewritten")
        walls.append(time.perf_counter() - began)
    print(median(walls))


if __name__ == "__main__":
    main()
