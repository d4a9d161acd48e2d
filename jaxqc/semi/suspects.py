"""Figures too good to be true, and what they usually come from."""

import math

PERFECT = 0.99995
"""Mean IoU from which it is printed as 1.0000."""
NOTHING = 5e-5
"""Loss below which it is printed as 0.0000."""


def suspects(miou: float, ignored: float, shown: int | None = None, loss: float = math.nan) -> list[str]:
    """A line for each figure that is seldom earned; [] where there is none.

    Args:
      ignored: share of the masks' pixels without a label, which no figure counts. shown: classes that the truth has,
        None = not counted. loss: the training's last.

    Examples:
      >>> suspects(1.0, 0.0625, 1)
      ['mean IoU 1.0000 is a suspect: the masks show 1 class alone, and 6.25% of their pixels have no label']
      >>> suspects(0.9, 0.0)
      []
    """
    left_out = f"{ignored:.2%} of their pixels have no label"
    causes = [f"the masks show {shown} class alone, and {left_out}"] if shown == 1 else [f"in the masks {left_out}"]
    causes += ["see that no image is in the training too, as it is or as a copy"] * (shown != 1)
    lines = [f"mean IoU {miou:.4f} is a suspect: {'; '.join(causes)}"] if miou >= PERFECT else []
    return lines + [f"loss {loss:.4f} is a suspect: {causes[0]}"] * bool(loss < NOTHING)
