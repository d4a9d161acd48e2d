"""The folder of an evaluation: one that holds other data's results is never written over."""

from pathlib import Path
from typing import Any

import pytest

from jaxqc.errors import UserError
from jaxqc.lock import locked
from jaxqc.training import record
from jaxqc.training.record import evaluation_folder, evaluation_place, write_measures


def measured(folder: Path | None, **about: str) -> Path:
    assert folder is not None
    write_measures(folder, about, [{"id": "a"}])
    return folder


def test_results_of_other_data_are_kept(tmp_path: Path) -> None:
    run = tmp_path / "run"
    names = []
    for data in ("boards", "others/boards", "boards", "third"):
        folder = measured(evaluation_folder("", run, "test", data=data), dataset="boards", data=data)
        names.append(folder.name)
    assert names == ["evaluation-test", "evaluation-test-2", "evaluation-test", "evaluation-test-3"]
    with pytest.raises(UserError, match="evaluation-test: holds the evaluation of boards; choose another --out"):
        evaluation_folder(run / "evaluation-test", None, data="third")
    assert evaluation_folder(run / "evaluation-test", None, data="./boards") == run / "evaluation-test"


def test_an_older_evaluation_names_its_data_set_alone(tmp_path: Path) -> None:
    old = measured(tmp_path / "run/evaluation-test", dataset="boards")
    assert evaluation_folder("", tmp_path / "run", "test", data=str(tmp_path / "boards")) == old
    assert evaluation_folder("", tmp_path / "run", "test", data="tiles") != old
    (old / "evaluation.json").write_text("{")
    assert evaluation_folder("", tmp_path / "run", "test", data="tiles") == old


def test_what_is_written_while_one_measures_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tmp_path / "run"
    place = evaluation_place("", run, "test", data="boards")
    assert not run.exists()

    def meanwhile(folder: Path, *options: Any):
        """Another evaluation, of other data, is the first to have the lock."""
        monkeypatch.undo()
        measured(folder, dataset="tiles", data="tiles")
        return locked(folder, *options)

    monkeypatch.setattr(record, "locked", meanwhile)
    with place() as folder:
        assert folder == run / "evaluation-test-2"
    with evaluation_place(None, run, "test", data="boards")() as nowhere:
        assert nowhere is None
