"""The wing of tensors: what the model computes; no text, no files, no ChatML in it."""
