"""The shim as a part of a Kubernetes cluster: a process beside it on each node, `registry-shim node`.

`wishes` (the ModelNode's spec → a list that the shim follows, and logins) and `seen` (what the shim says) → `report`
(ModelNode status), `labels` (of the Node), `progress` (events of pods that wait). All of these are pure; `agent` acts.

It holds no state: what it wrote for the shim is on disk, what it told the cluster is there, and after a restart of
itself, of the shim or of the API server it begins by looking at both.
"""
