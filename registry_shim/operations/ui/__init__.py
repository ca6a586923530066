"""The status page: one self-contained document, and the data that it asks for again and again."""
