"""Pickles: programs for a stack machine, walked opcode by opcode and never run."""
