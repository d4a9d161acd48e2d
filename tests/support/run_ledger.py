"""A writer of its own process: brings numbered batches into a ledger, and says after each that it is kept."""

import os
import random
import signal
import sys

from jaxqc.inspection.ledger import store as module
from jaxqc.inspection.ledger.store import open_ledger
from tests.support.ledger_makers import MODEL, finding, row

SIZE = 8


def batch(number: int) -> list[int]:
    return list(range(number * SIZE, (number + 1) * SIZE))


def die_before_the_defects_of(image: str) -> None:
    """Ends this process where the batch's images are written, and the defects of some of them."""
    real = module.defect_rows

    def deadly(ident, found):
        if found.image == image:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(ident, found)

    module.defect_rows = deadly


if __name__ == "__main__":
    where, first, last, seed = sys.argv[1], *map(int, sys.argv[2:5])
    if sys.argv[5:]:
        die_before_the_defects_of(sys.argv[5])
    order = list(range(first, last))
    if seed:  # writers with common batches, and images within them, in orders of their own
        random.Random(seed).shuffle(order)
    with open_ledger(where) as ledger:
        print("open", flush=True)
        for number in order:
            images = batch(number)
            random.Random(seed).shuffle(images)
            ledger.add([finding(i) for i in images], MODEL, [row(i) for i in images])
            print(number, flush=True)
