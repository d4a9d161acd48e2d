"""`jaxqc data ...`: the verbs of data sets, a file each."""

from jaxqc.cli.data import check, import_set, records, split, synthetic, tfds

__all__ = ["TEXTS", "check", "import_set", "records", "split", "synthetic", "tfds"]

TEXTS = ("Check, generate or pack data sets.", "Data sets.")
"""Help and description."""
