"""One module a format: how it is recognised, and what is wrong with a file of it."""
