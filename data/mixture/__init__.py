"""What a run sees and in which order: sources, weights, draws, batches; resumable at any draw."""
