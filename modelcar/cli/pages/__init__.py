"""What commands show as a page or as Markdown, and the rules that keep other people's text in it inert."""
