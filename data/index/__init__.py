"""Files of rows on disk: where each admitted row begins and what it weighs, so that any of millions is read at once."""
