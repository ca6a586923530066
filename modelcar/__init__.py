"""modelcar: model checkpoints as layered OCI images."""

__version__ = "0.1.0"
