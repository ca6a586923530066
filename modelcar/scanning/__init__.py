"""What is in a model's files: findings, and a verdict that is *clean* only where every byte was accounted for."""
