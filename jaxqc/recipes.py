"""The packaged recipes: found by name, in a checkout (`configs/`) as in an installed package."""

import ast
from pathlib import Path

from jaxqc.errors import UserError, suggest

# The wheel's folder has a name that no import statement can spell: a recipe is a file to run, never a module.
PLACES = (Path(__file__).parent / "packaged-configs", Path(__file__).parents[1] / "configs")

USES = {"TrainConfig": "train --config", "SemiTrainConfig": "train --config", "FitConfig": "fit --config",
        "GradeRules": "inspect --rules"}  # fmt: skip
"""The verb and flag that take a kind of recipe."""


def packaged() -> dict[str, Path]:
    """Name → file of every packaged recipe.

    Raises:
      UserError: the package came without its recipes.
    """
    for place in PLACES:
        if files := sorted(place.glob("*.py")):
            return {file.stem: file for file in files}
    raise UserError(f"{PLACES[0]}: the packaged recipes are not there; install jaxqc again, or give a recipe's path")


def find(recipe: str | Path, flag: str = "--config") -> Path:
    """The file of a recipe: a path to one, or a packaged recipe's name such as `tscarnet_sd900`.

    Raises:
      UserError: neither, with the closest name; flag: where the name was given.
    """
    path = Path(recipe)
    if path.is_file():
        return path
    known = packaged()
    if path.name == str(recipe) and not path.suffix:
        if path.name in known:
            return known[path.name]
        close = suggest(path.name, known)
        close = close if "did you mean" in close else ""
        raise UserError(f"{flag}: no recipe {path.name!r}{close}; `jaxqc recipes` lists them, or give a .py file")
    if path.stem in known:
        raise UserError(f"{flag}: no file {path}; the packaged recipe of that name is {path.stem!r}, without .py")
    near = sorted(p.name for p in path.parent.glob("*.py")) if path.parent.is_dir() else []
    raise UserError(f"{flag}: no file {path}" + (suggest(path.name, near) if near else ""))


def promise(file: Path) -> str:
    """The first paragraph of a recipe's docstring, in one line."""
    text = ast.get_docstring(ast.parse(file.read_text("utf-8"))) or ""
    return " ".join(text.partition("\n\n")[0].split())


def use(file: Path) -> str:
    """The verb and flag that take a recipe (a value of `USES`), by what its `get_config` is annotated to return; the
    file is not run."""
    for node in ast.parse(file.read_text("utf-8")).body:
        if isinstance(node, ast.FunctionDef) and node.name == "get_config" and node.returns is not None:
            return USES[ast.unparse(node.returns).strip("'\"")]
    raise UserError(f"{file}: get_config() does not say which kind of recipe it returns")
