"""Images by name: packaging, signing and moving put together, as people use them."""
