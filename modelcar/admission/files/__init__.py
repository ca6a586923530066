"""Files with Kubernetes objects, as people write them: `modelcar inject`.

`stream` (a file into documents) → `meaning` (what Kubernetes reads in one) → `workloads` (the pods in it) → `inject` →
`edits`, `render`, `roundtrip` (the text with what changed, and everything else as it was).
"""
