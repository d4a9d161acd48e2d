"""A training that is ended where a test says so."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from jaxqc.training import loop


@contextmanager
def ended_at_save(monkeypatch: pytest.MonkeyPatch, number: int) -> Iterator[None]:
    """Within it, KeyboardInterrupt follows the `number`-th checkpoint of all trainings."""
    save, saved = loop._Sitting._save, []

    def saved_and_ended(sitting):
        save(sitting)
        sitting.saves.wait()
        saved.append(sitting)
        if len(saved) == number:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(loop._Sitting, "_save", saved_and_ended)
        yield
