"""Annotations checked at run time: shapes and dtypes by jaxtyping, everything else by beartype."""

import os
from typing import Any

import pytest
from jaxtyping import TypeCheckError, install_import_hook

CHECKER = "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))"
"""As in PEP 484, an int is taken where a float is asked for."""


def check_annotations(package: str) -> None:
    """Checks every call of the package's functions and dataclasses from here on; to be called before its import."""
    install_import_hook(package, CHECKER)


def misfit(match: str) -> Any:
    """Expects ValueError of arrays that do not fit; where annotations are checked, their check comes first."""
    if os.environ.get("JAXQC_SHAPES"):
        return pytest.raises(TypeCheckError, match="parameters of jaxqc")
    return pytest.raises(ValueError, match=match)
