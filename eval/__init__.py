"""The benchmarks: predictions in, scores with intervals out."""
