"""The rooms of the terminal chat: the screen, what is shown on it, a dialogue, a tagged task; chat_cli.py is their door."""
