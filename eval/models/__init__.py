"""Whatever answers the rows of a benchmark: our checkpoints, transformers, a served model, a file of predictions, a peer."""
