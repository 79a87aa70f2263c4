"""What `python -m data` does: list, prepare, check, show, stats, mix."""
