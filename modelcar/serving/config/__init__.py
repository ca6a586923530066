"""The configuration file: YAML read into the settings of every part, strictly, and the pages that document it.

The dataclasses are the only description. `shape` reads them, `units` knows how sizes and times are written, `reading`
turns a document into values, `schema` says what a document may hold, and `reloading` follows a file that changes.
"""
