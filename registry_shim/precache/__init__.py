"""Images that a node has before anyone asks for them.

As an image goes: a `wish` from the command line, the API, the configuration or a watched list (`lists`) → the `queue`,
which survives restarts → `bring`: resolve, make room, fetch, verify, pin, import.
"""
