"""Table 1 of the survey of industrial defect detection as it runs here: its rows, and the detectors of each."""

from collections.abc import Mapping

TABLE_1: Mapping[str, tuple[str, ...]] = {
    "Images: autoencoders": (
        "conv_ae",
        "stain_ae",
        "mscdae",
        "ms_fcae",
        "memae",
        "acdn",
        "riad",
        "draem",
        "dsr",
    ),
    "Images: variational autoencoders": ("vae", "vae_projection", "vae_attention", "vae_gmm"),
    "Images: adversaries": ("anogan", "f_anogan", "egbad", "alocc", "ganomaly", "skip_ganomaly", "ocr_gan"),
    "Images and features: transformers": ("intra", "vt_adl", "anovit", "uniad", "dinomaly", "inp_former"),
    "Features: one class": ("ocsvm", "deep_svdd", "patch_svdd", "fcdd", "cutpaste", "geom", "goad", "supersimplenet"),
    "Features: comparison": ("spade", "dictionary", "patchcore", "anomaly_dino", "cpr", "pni"),
    "Features: statistics": ("gaussian", "density"),
    "Features: flows": ("differnet", "cflow", "cs_flow", "fastflow", "msflow"),
    "Features: teacher and student": (
        "uninformed",
        "salehi",
        "stfpm",
        "rd4ad",
        "rdpp",
        "efficient_ad",
        "ast",
        "destseg",
        "cdo",
        "dfr",
    ),
}
"""By the table's levels and kinds. DFR, which rebuilds features, stands beside the students that do so."""
GENERAL = ("reconstruction", "combined")
"""Detectors that are no system of their own."""

IMAGES = ("--backbone.name", "pixels", "--backbone.layers", "1")


def _flags(size: int, epochs: float, *others: str) -> tuple[str, ...]:
    return (*IMAGES, "--data.size", str(size), "--detector.training.epochs", str(epochs), *others)


WIDTH, BATCH, RATE, SIGMA = (f"--detector.{name}" for name in ("width", "training.batch", "training.optim.lr", "sigma"))
NARROW = (WIDTH, "0.25", SIGMA, "2")
TOKENS = ("--detector.dim", "64", "--detector.heads", "4", "--detector.layers", "4", "--detector.hidden", "128")
PLAYED = (BATCH, "16", SIGMA, "2", WIDTH)
MEMORY = ("--detector.memory.slots", "500", "--detector.memory.least", "4e-3")
STARTED = ("--detector.start.epochs", "40", "--detector.start.batch", "16", "--detector.start.optim.lr", "2e-4")
FLAGS: Mapping[str, tuple[str, ...]] = {
    "riad": _flags(64, 20, WIDTH, "0.125", RATE, "1e-3"),
    "memae": _flags(64, 30, *NARROW, RATE, "1e-3", *MEMORY),
    **dict.fromkeys(TABLE_1["Images: variational autoencoders"], _flags(64, 60, *NARROW)),
    "vae_projection": _flags(64, 60, *NARROW, "--detector.descent.steps", "30"),
    **dict.fromkeys(("mscdae", "ms_fcae"), _flags(64, 30, WIDTH, "8", SIGMA, "2")),
    "acdn": _flags(128, 30, WIDTH, "8", SIGMA, "4"),
    "intra": _flags(128, 80, *TOKENS, BATCH, "16", RATE, "1e-3"),
    "anovit": _flags(128, 60, *TOKENS, RATE, "1e-3", SIGMA, "4"),
    "vt_adl": _flags(512, 2, *TOKENS, RATE, "1e-3", SIGMA, "8"),
    "ganomaly": _flags(64, 25, *PLAYED, "0.25"),
    "alocc": _flags(64, 20, *PLAYED, "0.25", RATE, "5e-4"),
    **dict.fromkeys(("skip_ganomaly", "ocr_gan"), _flags(64, 15, *PLAYED, "0.125")),
    "egbad": _flags(64, 40, *PLAYED, "0.125", RATE, "2e-4", "--detector.adversary.average", "0.98"),
    "anogan": _flags(64, 40, *PLAYED, "0.125", "--detector.descent.steps", "50", "--detector.descent.rate", "0.1"),
    "f_anogan": _flags(64, 20, *PLAYED, "0.125", RATE, "5e-4", *STARTED),
    "geom": _flags(32, 2, WIDTH, "0.25"),
    "goad": _flags(32, 3, WIDTH, "0.25"),
}
"""Flags of those that see images and have no recipe for CPUs of their own."""


def category(member: str) -> str:
    """The row of Table 1 that a detector, or its recipe such as `NAME_small`, belongs to; "" of others.

    Examples:
      >>> category("stain_ae_small"), category("vae"), category("mine")
      ('Images: autoencoders', 'Images: variational autoencoders', '')
    """
    known = {name: kind for kind, names in TABLE_1.items() for name in names}
    named = [name for name in known if member == name or member.startswith(f"{name}_")]
    return known[max(named, key=len)] if named else ""
