"""Constructed examples with exact labels: voices, sounds, music and times, and what is said and asked of them."""
