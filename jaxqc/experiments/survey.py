"""Table 1 of the survey of industrial defect detection as it runs here: its rows, and the detectors of each."""

from collections.abc import Mapping

TABLE_1: Mapping[str, tuple[str, ...]] = {
    "Images: autoencoders": ("conv_ae", "stain_ae", "memae", "riad", "draem"),
    "Images: variational autoencoders": ("vae", "vae_projection", "vae_attention", "vae_gmm"),
    "Images: adversaries": ("anogan", "f_anogan", "egbad", "alocc", "ganomaly", "skip_ganomaly", "ocr_gan"),
    "Images and features: transformers": ("uniad", "dinomaly", "inp_former"),
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
SMALL: tuple[str, ...] = (*IMAGES, "--data.size", "128", "--detector.width", "0.25", "--detector.training.epochs", "30")
PLAYED = (*IMAGES, "--data.size", "64", "--detector.width", "0.25", "--detector.training.epochs", "60")
FLAGS: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("riad", "memae", *TABLE_1["Images: variational autoencoders"]), SMALL),
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
