"""A door over a Unix socket: open files by SCM_RIGHTS, requests, answers and revocations."""
