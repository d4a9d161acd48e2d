"""Pieces from their views: a piece is as bad as its worst view; a person's verdict goes before the model's.

The unit of a lot is the piece: three views of one scratched cap are one defective cap, not three.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from jaxqc.inspection.findings import VERDICTS, Verdict

PASS, REJECT = VERDICTS.index("pass"), VERDICTS.index("reject")
NOBODY = -1
"""In the place of a person's verdict where there is none."""


@dataclass(frozen=True)
class Pieces:
    """Columns over a lot's n pieces, as `grading.lot_figures` takes them."""

    verdicts: tuple[Verdict, ...]
    """Its worst view's: reject before review before pass."""
    severities: Float[np.ndarray, " n"]
    """Its worst view's q."""
    called: Bool[np.ndarray, " n"]
    """The model does not pass all of its views, whatever people said."""
    judged: Bool[np.ndarray, " n"]
    """Its verdict is people's: they rejected a view, or judged all of them."""


def pieces_of(
    image: Int[np.ndarray, " v"],
    piece: Int[np.ndarray, " v"],
    model: Int[np.ndarray, " m"],
    people: Int[np.ndarray, " m"],
    severities: Float[np.ndarray, " m"],
    reject: float,
) -> Pieces:
    """The pieces that m images show.

    Args:
      image, piece: v views: indices of an image and of the piece, from 0 on without a gap, that it shows.
      model: verdict on each image, an index of `VERDICTS`; people: a person's, or `NOBODY`.
      severities: q of each image. A person's pass makes it 0. A person's reject makes it `reject` at least, the q from
        which the rules reject: somebody saw a defect where the model may have seen none.

    Examples:
      >>> views, shown = np.array([0, 1, 2, 3]), np.array([0, 0, 1, 2])  # of the first piece there are two views
      >>> model, people, q = np.array([0, 2, 1, 0]), np.array([-1, -1, 0, 2]), np.array([0, 0.5, 0.1, 0])
      >>> found = pieces_of(views, shown, model, people, q, reject=0.2)
      >>> found.verdicts, found.severities.tolist()
      (('reject', 'pass', 'reject'), [0.5, 0.0, 0.2])
      >>> found.called.tolist(), found.judged.tolist()
      ([True, True, False], [False, True, True])
    """
    judged = people != NOBODY
    verdict = np.where(judged, people, model)
    q = np.where(people == PASS, 0.0, np.where(people == REJECT, np.maximum(severities, reject), severities))
    count = int(piece.max()) + 1 if len(piece) else 0
    worst, severity = np.zeros(count, np.int64), np.zeros(count)
    called, rejected, open_ = (np.zeros(count, bool) for _ in range(3))
    np.maximum.at(worst, piece, verdict[image])
    np.maximum.at(severity, piece, q[image])
    np.logical_or.at(called, piece, model[image] != PASS)
    np.logical_or.at(rejected, piece, people[image] == REJECT)
    np.logical_or.at(open_, piece, ~judged[image])
    return Pieces(tuple(VERDICTS[i] for i in worst.tolist()), severity, called, rejected | ~open_)
