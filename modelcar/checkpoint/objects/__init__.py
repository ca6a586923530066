"""Checkpoints in object stores: `s3://bucket/prefix`, `gs://bucket/prefix`, `az://container/prefix`."""
