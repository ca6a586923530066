"""Other scanners on the same corpus: `python -m tests.corpus.peers`, or `make scan-table`.

`install` → `scanners` (how each is asked and what its answer means) → `answers` (all of them, kept in a file) →
`table` (into docs/explanation/scanning-comparison.md).
"""
