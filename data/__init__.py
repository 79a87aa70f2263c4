"""The workshop of records: manifests, recipes, examples and batches; code only, no corpora."""
