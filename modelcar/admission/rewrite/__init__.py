"""The pod as it will run: a pure function of the pod, what it asks for, facts about images, and settings."""

from modelcar.admission.rewrite.rewrite import rewrite

__all__ = ["rewrite"]
