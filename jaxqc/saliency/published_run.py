"""A run folder of published weights, as if they had been trained here: evaluated, used, exported and verified alike."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from jaxqc.config import load_config
from jaxqc.data.synthetic.plates import render
from jaxqc.errors import UserError
from jaxqc.fields import to_dict
from jaxqc.lock import locked
from jaxqc.saliency.method import make_method
from jaxqc.saliency.networks import find, storable
from jaxqc.saliency.published import Found
from jaxqc.training import folder_sums, golden, record
from jaxqc.training.checkpoint import Checkpoints
from jaxqc.training.evaluate import predict_maps

FOREGROUND = 0.1
"""Share of defect pixels in meta.json, where a bias would start; nothing that is used rests on it."""


def write_run(folder: str | Path, found: Found) -> Path:
    """Leaves config, meta, checkpoint and golden record in a folder, which is new or empty; returns it.

    The golden maps are of two generated plates. Nothing is known of what the weights were trained on.

    Raises:
      UserError: the network has no published weights, or the folder holds something or cannot be written.
    """
    folder = Path(folder)
    published = find(found.network).published
    if published is None:
        raise UserError(f"{found.network}: no published weights of it are known")
    if folder.is_dir() and any(path.name != ".lock" for path in folder.iterdir()):
        raise UserError(f"{folder}: is not empty; choose another OUT")
    if found.report.beyond:
        lacking = f"{len(found.report.beyond)} arrays are for another task ({found.report.beyond[0]}, ...)"
        raise UserError(f"{found.source}: {lacking}; give OUT.npz and start a training from it (--model.weights)")
    config = load_config(published.recipe)
    config = replace(config, model=replace(config.model, name=found.network))
    method = make_method(config, (), published.mean, published.std, FOREGROUND)
    with locked(folder):
        meta: dict[str, Any] = {"mean": published.mean, "std": published.std, "foreground": FOREGROUND}
        meta["published"] = {"file": found.source, "sha256": found.sha256}
        record.write_record(folder, storable(config), meta, (), "")
        kept = {"config": to_dict(storable(config)), "data": "", "metrics": {}, "seconds": 0.0}
        kept |= {"best": {"step": 0, "value": None, "metrics": {}}, "environment": record.environment()}
        model_state = {name: tree for name, tree in found.variables.items() if name != "params"}
        saves = Checkpoints(folder / "checkpoints")
        try:
            state = {"step": np.int32(0), "params": found.variables["params"], "model_state": model_state}
            saves.save(0, state, kept | folder_sums.PROMISE, 0)
        finally:
            saves.close()
        images = np.stack([render(0, index).image for index in range(golden.GOLDEN_IMAGES)])[..., None]
        maps = predict_maps(method, found.variables, images, config.eval_size)["map"]
        arrays = {"map": maps, "image": images, "size": np.int32(config.eval_size), "step": np.int32(0)}
        golden.save_golden(folder, arrays)
        folder_sums.close_sums(folder)
    return folder
