"""HTTP, as everything above it sees it: requests and responses as plain values, and one module that knows aiohttp."""
