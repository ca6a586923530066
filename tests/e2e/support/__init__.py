"""Registries, engines and readers of other people's, each started for a test and cleaned up after it."""
