"""Training backbones as classifiers, so that their features can be used frozen."""
