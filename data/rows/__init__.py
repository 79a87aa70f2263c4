"""Rows of any known shape become records: their columns, dialogues, archives, and what is wrong with them."""
