"""Names imported on first use: public names of a package (PEP 562) and functions, so that importing stays light."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any


def lazy_names(
    package: str, homes: Mapping[str, str], modules: Sequence[str] = ()
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` of a package.

    package: its `__name__`. modules: those of its modules that are public names themselves.
    homes: public name → module within the package that defines it.
    """

    def get(name: str) -> Any:
        if name in homes:
            return getattr(import_module(f"{package}.{homes[name]}"), name)
        if name in modules:
            return import_module(f"{package}.{name}")
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return get, lambda: sorted([*homes, *modules])


@dataclass(frozen=True)
class Late:
    """A function that is imported when it is first called.

    module: its module. name: its name there.
    """

    module: str
    name: str

    @property
    def __wrapped__(self) -> Callable[..., Any]:
        """The function itself; `inspect.signature` finds it here."""
        return getattr(import_module(self.module), self.name)

    def __call__(self, *args: Any, **options: Any) -> Any:
        """Calls it."""
        return self.__wrapped__(*args, **options)
