"""Container engines of this machine: where they are, and how an image gets into their own storage."""
