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
SHORT: tuple[str, ...] = (*IMAGES, "--data.size", "128", "--detector.training.epochs", "30")
NARROW = (*SHORT, "--detector.width", "0.25")
TOKENS = (*SHORT, "--detector.dim", "64", "--detector.heads", "4", "--detector.layers", "4", "--detector.hidden", "128")
PLAYED = (*IMAGES, "--data.size", "64", "--detector.training.epochs", "60", "--detector.width", "0.25")
FLAGS: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("riad", "memae", *TABLE_1["Images: variational autoencoders"]), NARROW),
    **dict.fromkeys(("mscdae", "ms_fcae", "acdn"), (*SHORT, "--detector.width", "8")),
    **dict.fromkeys(("intra", "anovit"), TOKENS),
    "vt_adl": (*TOKENS, "--data.size", "512"),
    **dict.fromkeys(TABLE_1["Images: adversaries"], PLAYED),
    **dict.fromkeys(("geom", "goad"), (*IMAGES, "--data.size", "64")),
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
