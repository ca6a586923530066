"""Pictures in cards: each part is of a kind that the format has, and nothing follows the last one."""
