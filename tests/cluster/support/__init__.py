"""What runs in a cluster, run beside one: the webhook behind its Service, images in a registry, nodes."""
