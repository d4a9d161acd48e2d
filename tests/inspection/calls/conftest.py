"""Fixtures of all tests of `jaxqc inspect`: small models of every kind, no page, two lots of images."""

import functools

import pytest

import jaxqc
from jaxqc.inspection import inspect as module
from tests.support.inspect_models import BATCH, make_checkpoint, small_models, write_image  # noqa: F401 - a fixture
from tests.support.tiny_boards import boards  # noqa: F401 - a fixture


@pytest.fixture(autouse=True)
def no_report(request, monkeypatch):
    """The page takes longer than all the rest; `test_the_report_is_written` has it."""
    if "report" not in request.node.name:
        monkeypatch.setattr(module, "write_report", lambda *args, **more: None)


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory, boards):
    """kind → the folder of such a model, made once."""
    return functools.cache(lambda kind: make_checkpoint(kind, tmp_path_factory.mktemp(kind), boards))


@pytest.fixture(scope="module")
def folder(folder_of):
    """A network's run folder."""
    return folder_of("network")


@pytest.fixture(scope="module")
def network(folder):
    """The network, loaded once: what it has compiled serves all tests."""
    return jaxqc.load(folder, batch=BATCH)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Two lots, 6 and 5 images, of which 2 and 4 have a hole; sizes and channels differ. Read only."""
    root = tmp_path_factory.mktemp("images")
    for i in range(6):
        write_image(root / "A" / f"{i}.png", 200 + i, i < 2, colour=i == 1)
    for i in range(5):
        write_image(root / "B" / f"{i}.png", 300 + i, i < 4, 64, 80)
    return root
