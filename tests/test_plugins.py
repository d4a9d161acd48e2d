"""Things by name: own ones, those of installed packages, and names that must not import anything."""

import sys
from pathlib import Path

import pytest

from jaxqc import plugins
from jaxqc.errors import UserError

OWN = {"plain": 1.5, "other": 2.5}


class Thing:
    """Something that only its module's variable names."""


def install(folder: Path, name: str, entries: str, **files: str) -> None:
    """A distribution as pip leaves it: modules, METADATA and entry_points.txt."""
    info = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n", "utf-8")
    (info / "entry_points.txt").write_text(entries, "utf-8")
    for module, text in files.items():
        (folder / f"{module}.py").write_text(text, "utf-8")


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder on sys.path where distributions can be installed; their modules are forgotten afterwards."""
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if name.startswith("acme_"):
            del sys.modules[name]


def test_the_projects_own_things_come_first(site):
    install(site, "acme-a", "[jaxqc.networks]\nplain = acme_a:BIG\n", acme_a="BIG = 7.5\n")
    assert plugins.resolve("networks", "plain", OWN) == 1.5
    assert plugins.names("networks", OWN) == ("plain", "other")
    assert "acme_a" not in sys.modules


def test_an_installed_thing_is_found_by_name_and_by_what_a_run_folder_stores(site):
    install(site, "acme-a", "[jaxqc.networks]\nbig = acme_a:BIG\n", acme_a="BIG = [7.5]\n")
    assert plugins.names("networks", OWN) == ("plain", "other", "big")
    assert plugins.names("readers", OWN) == ("plain", "other")
    assert plugins.origin("networks", "big", OWN) == "acme_a:BIG", "stored before anything is imported"
    assert "acme_a" not in sys.modules
    thing = plugins.resolve("networks", "big", OWN, want=list)
    assert thing == [7.5]
    assert plugins.resolve("networks", "acme_a:BIG", OWN) is thing
    assert plugins.origin("networks", thing, OWN) == "acme_a:BIG"
    assert plugins.origin("networks", OWN["plain"], OWN) == "plain"
    assert plugins.origin("networks", "nobody", OWN) == "nobody"


def test_the_registered_place_of_a_thing_is_preferred_to_its_other_ones(site):
    install(site, "acme-b", "[jaxqc.networks]\nbig = acme_b:BIG\n", acme_b="from acme_b_long import BIG\n",
            acme_b_long="BIG = [7.5]\n")  # fmt: skip
    assert plugins.origin("networks", plugins.resolve("networks", "big", OWN), OWN) == "acme_b:BIG"


def test_a_name_in_a_run_folder_imports_only_what_is_registered(site):
    install(site, "acme-a", "[jaxqc.networks]\nbig = acme_a:BIG\n", acme_a="BIG = 7.5\n")
    (site / "acme_evil.py").write_text("raise SystemExit('imported')\n", "utf-8")
    for name in ("acme_evil:BIG", "acme_a:SMALL", "os:system", "acme_a.BIG:x"):
        with pytest.raises(UserError, match=f"{name}.* does not register it; add the entry point .*jaxqc.networks"):
            plugins.resolve("networks", name, OWN)
    with pytest.raises(UserError, match="does not register it"):
        plugins.resolve("readers", "acme_a:BIG", OWN)
    assert not {"acme_evil", "acme_a"} & set(sys.modules)


def test_an_absent_package_is_named():
    message = "model.name: network acme_gone.nets:BIG: the package 'acme_gone' is not installed"
    with pytest.raises(UserError, match=message):
        plugins.resolve("networks", "acme_gone.nets:BIG", OWN, field="model.name")


def test_a_misspelt_name_gets_the_nearest_one(site):
    install(site, "acme-a", "[jaxqc.networks]\nbiggest = acme_a:BIG\n", acme_a="BIG = 7.5\n")
    with pytest.raises(UserError, match=r"^no network 'bigest' \(did you mean 'biggest'\?\)$"):
        plugins.resolve("networks", "bigest", OWN)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import acme_not_there\n", "ModuleNotFoundError: No module named 'acme_not_there'"),
        ("def broken(:\n", "SyntaxError"),
        ("raise RuntimeError('first\\nsecond')\n", "RuntimeError: first second"),
        ("SMALL = 1\n", "AttributeError: module 'acme_c' has no attribute 'BIG'"),
    ],
)
def test_a_package_that_cannot_be_imported_is_one_line(site, text, said):
    install(site, "acme-c", "[jaxqc.networks]\nbig = acme_c:BIG\n", acme_c=text)
    with pytest.raises(UserError) as caught:
        plugins.resolve("networks", "big", OWN)
    message = str(caught.value)
    assert "acme_c:BIG of the package acme-c cannot be imported" in message
    assert said in message
    assert "\n" not in message


def test_a_thing_of_another_class_is_refused(site):
    install(site, "acme-a", "[jaxqc.networks]\nbig = acme_a:BIG\n", acme_a="class BIG: pass\n")
    with pytest.raises(UserError, match="acme_a:BIG of the package acme-a is the class BIG, not a Thing"):
        plugins.resolve("networks", "big", OWN, want=Thing)


def test_a_name_that_two_packages_register_is_refused(site):
    install(site, "acme-a", "[jaxqc.networks]\nbig = acme_a:BIG\n", acme_a="BIG = 1\n")
    install(site, "acme-d", "[jaxqc.networks]\nbig = acme_d:BIG\n", acme_d="BIG = 2\n")
    with pytest.raises(UserError, match="network 'big' is registered twice; give one of acme_a:BIG, acme_d:BIG"):
        plugins.resolve("networks", "big", OWN)
    assert plugins.resolve("networks", "acme_d:BIG", OWN) == 2


def test_a_malformed_entry_point_is_one_line(site):
    install(site, "acme-a", "[jaxqc.networks]\nbig\n", acme_a="BIG = 1\n")
    with pytest.raises(UserError, match="entry points of an installed package cannot be read") as caught:
        plugins.resolve("networks", "big", OWN)
    assert "\n" not in str(caught.value)
    assert plugins.resolve("networks", "plain", OWN) == 1.5


def test_a_thing_without_a_home_is_refused():
    with pytest.raises(UserError, match="a Thing of no module; assign it to a variable"):
        plugins.origin("networks", Thing(), OWN)
    assert plugins.origin("networks", Thing, OWN) == f"{__name__}:Thing"
