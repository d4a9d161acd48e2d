"""The same work in PyTorch, so that every figure has a peer measured in the same run (needs the extra `peers`)."""
