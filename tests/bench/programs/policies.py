"""Policies about one image, evaluated again and again; the time of one evaluation in the middle.

python -m tests.bench.programs.policies POLICIES SIGNERS
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from statistics import median
from typing import Any

from modelcar.signing.policy import KnownAuthorities, ModelFile, evaluate, parse
from tests.support.policies import (
    DIGEST,
    IMAGE,
    NOW,
    Someone,
    as_file,
    cluster_image_policy,
    model_policy,
    scan_rule,
    together,
)

_EVALUATIONS = 101
_FILES = 60


def policy(number: int, signer: Someone) -> dict[str, Any]:
    """Of four policies, two ask for a signature, one is about other images, one has all rules for models."""
    if number % 4 == 3:
        rules: dict[str, Any] = {
            "formats": {"allowed": ["safetensors"]},
            "licenses": {"allowed": ["MIT"]},
            "customCode": "deny",
        }
        return model_policy(f"policy-{number}", scan=scan_rule(signer), **rules)
    glob = f"registry.example.com/team-{number}/**" if number % 4 == 2 else "registry.*.com/**"
    return cluster_image_policy(signer.authority, name=f"policy-{number}", images=[{"glob": glob}])


def main(policies: str, signers: str) -> None:
    people = [Someone() for _ in range(int(signers))]
    documents = [policy(i, people[i % len(people)]) for i in range(int(policies))]
    compiled = parse([("policies.yaml", as_file(*documents))])
    evidence = {DIGEST: together(*(p.signs() for p in people), *(p.finds("clean") for p in people))}
    files = tuple(ModelFile(path=f"{i}.safetensors", role="weight", format="safetensors") for i in range(_FILES))
    image = replace(IMAGE, files=files, annotations=({"org.opencontainers.image.licenses": "MIT"},))
    authorities = KnownAuthorities()
    walls = []
    for _ in range(_EVALUATIONS):
        began = time.perf_counter()
        decision = evaluate(compiled, image, evidence, authorities, now=NOW)
        walls.append(time.perf_counter() - began)
        decision.require()
    print(median(walls))


if __name__ == "__main__":
    main(*sys.argv[1:])
