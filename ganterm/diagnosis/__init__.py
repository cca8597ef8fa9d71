"""What the tensors of a step say about G and D; pure functions, nothing read back to the host."""
