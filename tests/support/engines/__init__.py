"""Ways to share images between nodes, side by side: a containerd on each, and something before the registry."""
