"""How a run is watched: its figures, its answers to dev rows, its best checkpoint, its curves."""
