"""The metrics: each turns samples into sums that can be resampled; no torch here."""
