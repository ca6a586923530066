"""Chat templates: Jinja that is parsed and never rendered, held against the small part of Jinja that they need."""
