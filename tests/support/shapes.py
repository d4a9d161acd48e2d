"""Annotations checked at run time: shapes and dtypes by jaxtyping, everything else by beartype."""

from jaxtyping import install_import_hook

CHECKER = "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))"
"""As in PEP 484, an int is taken where a float is asked for."""


def check_annotations(package: str) -> None:
    """Checks every call of the package's functions and dataclasses from here on; to be called before its import."""
    install_import_hook(package, CHECKER)
