"""The outputs of trained models by name: one vocabulary for all kinds, and the choice of some by a caller."""

from collections.abc import Collection, Sequence

from jaxqc.errors import UserError, suggest

Outputs = str | Sequence[str] | None
"""One name, several, or None: the model's default output alone."""

MEANINGS = {
    "map": "defect map in [0, 1]",
    "class": "probability of each class",
    "m1": "coarse map in [0, 1], smaller than the image",
    "m2": "coarse map in [0, 1], smaller than the image",
    "m3": "coarse map in [0, 1], smaller than the image",
    "distance": "distance to what is normal, in the detector's own unit",
    "score": "the image's score, in the same unit",
    "mask": "pixels at or above the pixel threshold, opened",
    "defective": "true where the score is at or above the image threshold",
    "label": "most probable class of each pixel",
    "confidence": "probability of that class",
    "probabilities": "probability of each class, each pixel",
    "defect_class": "most probable class of each pixel but background",
}
"""Every output that a model of some kind has."""
OF_IMAGE = ("class", "score", "defective")
"""Outputs of an image and not of its pixels: one array for all images of a list."""


def chosen(outputs: str | Sequence[str], there: Collection[str]) -> tuple[str, ...]:
    """The names asked for, all of them among those that a model has.

    Raises:
      UserError: no name, or one that the model does not have, with the closest that it has.
    """
    names = (outputs,) if isinstance(outputs, str) else tuple(outputs)
    if not names:
        raise UserError(f"outputs: none named; give one or more of {', '.join(there)}")
    for name in names:
        if name not in there:
            raise UserError(f"outputs: this model has no {name!r}{suggest(str(name), there)}")
    return names
