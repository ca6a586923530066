"""Policies: which images may be used, decided the same way by a command, a node and a webhook.

`documents` → `fields` (closed objects) → `clusterimage`, `modelpolicy`, `denylist` (what may be written) → `policyset`
→ `evaluate` (what it means), over `facts` (the image), `witnesses` (who signed what) and `resolve` (whose word counts).
"""

from modelcar.signing.policy.decision import AuthorityResult, Decision, PolicyResult
from modelcar.signing.policy.evaluate import Default, evaluate
from modelcar.signing.policy.facts import ImageFacts, ModelFile
from modelcar.signing.policy.policyset import PolicySet, load, parse
from modelcar.signing.policy.resolve import Authorities, KnownAuthorities
from modelcar.signing.policy.roots import authorities_under
from modelcar.signing.policy.workload import Workload
from modelcar.signing.ruleset import SCAN_VERDICT

__all__ = [
    "SCAN_VERDICT",
    "Authorities",
    "AuthorityResult",
    "Decision",
    "Default",
    "ImageFacts",
    "KnownAuthorities",
    "ModelFile",
    "PolicyResult",
    "PolicySet",
    "Workload",
    "authorities_under",
    "evaluate",
    "load",
    "parse",
]
