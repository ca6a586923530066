"""Tensors of a checkpoint, from a folder, a mount or an image, straight into the memory that they are used in."""
