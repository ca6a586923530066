"""Benchmarks of modelcar beside the tools that people use today: `make bench`, or `python -m tests.bench`.

Everything is run as a user would run it, as separate processes over real files and loopback registries, in turns,
several times. What a tool costs is read from the kernel when its process ends. Nothing here is asserted by a test:
the outcome is a table (`docs/explanation/benchmarks.md`) and a JSON file.

    python -m tests.bench.peers             install the Python peers into .cache/bench/peers
    python -m tests.bench                   everything; about a quarter of an hour
    python -m tests.bench --part shim       one part
    python -m tests.bench --only push       one scenario
    python -m tests.bench --quick           256 MiB, once: does it all still work?
    python -m tests.bench --write           put the tables of whole parts into docs/explanation/benchmarks.md

How it is laid out: `__main__` → `scenarios/` (what is compared) → `tools/` (how each tool is called) → `race` (turns
and repeats) → `measure` (one process) → `report`. `programs/` are run as processes of their own.
"""
