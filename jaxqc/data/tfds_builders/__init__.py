"""TFDS builders of the data sets that jaxqc knows: `prepare_*` writes ArrayRecord files that any TFDS user can read."""
