"""The folder of a fitted detector, written and opened.

state/0/      an Orbax checkpoint: the detector's state and the backbone's folded variables, with the record
config.json   the recipe;  meta.json  thresholds, classes, weights' digest, data digest, versions
thresholds.json  where they were moved later (`jaxqc.training.moved`)
golden.npz    two images with their maps and scores, for `jaxqc verify`
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
from flax import traverse_util

from jaxqc.anomaly.aligned import AtPlaces
from jaxqc.anomaly.model import AnomalyModel
from jaxqc.anomaly.recipe import from_stored
from jaxqc.anomaly.restored import restored
from jaxqc.anomaly.thresholds import Thresholds
from jaxqc.errors import UserError
from jaxqc.training.checkpoint import Checkpoints, read
from jaxqc.training.checksums import DamagedError
from jaxqc.training.folder_sums import check_folder, check_promise
from jaxqc.training.moved import moved


def save(folder: Path, model: AnomalyModel, record: dict[str, Any]) -> None:
    """Writes a fit's state and backbone (config.json and meta.json are `record.write_record`'s).

    Raises:
      UserError: the folder cannot be written.
    """
    saves = Checkpoints(folder / "state")
    try:
        tree = {"state": jax.device_get(model.state), "backbone": jax.device_get(model.variables)}
        kind = type(model.state.state if isinstance(model.state, AtPlaces) else model.state)
        saves.save(0, tree, {"state": kind.__name__, **record}, 0)
        saves.wait()
    finally:
        saves.close()


def load(path: str | Path, batch: int = 0) -> AnomalyModel:
    """The model of a fit's folder. batch: most images on the device at once; 0 takes the recipe's.

    Raises:
      UserError: no fit there, or it is damaged or not finished.
    """
    folder = Path(path)
    if not (folder / "state").is_dir() and (folder / "checkpoints").is_dir():
        raise UserError(f"{folder}: an unfinished fit; the same jaxqc fit command goes on with it")
    try:
        check_folder(folder)
        flat, record = read(folder / "state" / "0")
        check_promise(folder, record)
        meta = json.loads((folder / "meta.json").read_text("utf-8"))
        config = from_stored(record["config"], f"{folder}: config")
        config = replace(config, batch=batch or config.batch)
        thresholds, now = Thresholds(**meta["thresholds"]), moved(folder)
        if now:
            image, pixel = thresholds.image * now.factor, thresholds.pixel * now.factor
            thresholds = replace(thresholds, image=image, pixel=pixel, how=now.how)
    except UserError:
        raise
    except (DamagedError, OSError, ValueError, KeyError, TypeError) as e:
        raise UserError(f"{folder}: damaged ({e}); fit again, or copy the whole folder again") from e
    tree = traverse_util.unflatten_dict(flat)
    fields = tree["state"]["state"] if config.aligned else tree["state"]
    state = restored(fields, record.get("state"), config.detector.states, folder)
    state = AtPlaces(tree["state"]["size"], state) if config.aligned else state
    return AnomalyModel(config, state, tree.get("backbone", {}), thresholds, meta)
