"""What talks to a Kubernetes API server, and what is installed there.

`resources` (names of what there is) → `api` (the one module that speaks to an API server; `access` finds it, `testing`
is one in memory) → `watching` (lists that stay up to date). Above them: `secrets`, the ModelCache controller (`plan`,
which is pure, and `controller` around it), and `manifests`.
"""
