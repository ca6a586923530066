"""What the SOCI snapshotter needs of a layer: a zTOC, its table of contents with span digests, as a FlatBuffer."""
