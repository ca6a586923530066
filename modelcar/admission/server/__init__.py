"""The webhook as a process: its listener, its certificates, what it counts, and how it ends.

`settings` (one file) → `certificates` and `keeping` (TLS) → `decisions` (a review to an answer, in bounded time) →
`webhook` (HTTP) → `service` (all of it, running).
"""
