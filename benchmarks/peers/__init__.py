"""The same work in PyTorch, so that every figure stands beside a peer measured in the same run (needs the extra `peers`)."""
