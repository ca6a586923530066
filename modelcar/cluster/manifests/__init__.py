"""What is installed in a cluster, as plain dictionaries: `bundle` puts the parts together."""
