"""Pods that ask for a model, rewritten so that it appears: one pure function, and what it stands on.

`names` (annotations and labels) → `asked` (what a pod wants) → `facts` (what images say of themselves, and policies of
them) → `rewrite` (the pod as it will run) → `admit` (the three, in order) → `patch` and `review` (the API server's
form) → `server`. The webhook and `modelcar inject` are two doors to `admit`.
"""
