"""The ModelCache controller: `known` (what there is) → `modelcar.cluster.plan` → `writing`; `operator` is kopf around.

One pass decides about everything at once, so what was missed or failed is made good by the next. There is one
controller: a Deployment with one replica that is replaced, not rolled. Should two run for a moment, they want the same.
"""
