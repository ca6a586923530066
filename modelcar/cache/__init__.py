"""What this node has of blobs: whole ones in the store, others while they arrive."""
