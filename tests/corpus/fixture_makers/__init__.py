"""What `make_fixtures` runs: one function a fixture, given the folder to fill. Needs heavy libraries."""
