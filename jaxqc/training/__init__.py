"""The one training loop: state, optimisers, parallel steps, checkpoints, progress."""
