"""What this node may serve: deny-lists, signature policies, formats and scan verdicts, by repository.

`settings` (what may be chosen) → `rules` (which rule is a repository's) → `policybook` (policies and deny-lists, read
again when they change) → `examine` (signatures and facts of one image) and `scans` → `worker` (looking into it in a
process of its own) → `ruling` (what comes of both) → `gate` (the answer, for those who ask).
"""
