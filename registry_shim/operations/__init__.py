"""What keeps a node running: configuration, metrics, logs, traces, health, and the page that shows it all."""
