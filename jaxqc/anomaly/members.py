"""One fit of a detector: by the one loop, or by one pass after the trainings of those members that have one.

The members' trainings are runs of the loop as any other, each in a folder of its own.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxqc.anomaly.collecting import load_batches
from jaxqc.anomaly.detectors.base import BackboneConfig, Trained, is_trained
from jaxqc.anomaly.detectors.learner import MEASURED, Given
from jaxqc.anomaly.detectors.stage import place_of
from jaxqc.anomaly.features import Backbone, apply_function
from jaxqc.anomaly.fits import collected, fitted_samples
from jaxqc.anomaly.recipe import FitConfig
from jaxqc.anomaly.settle import settled
from jaxqc.anomaly.training import train_state, with_masks
from jaxqc.data.dataset import Dataset
from jaxqc.data.grouped import Parts
from jaxqc.data.tile_samples import drawn_tiles
from jaxqc.errors import UserError
from jaxqc.progress import Progress


def fit_once(
    config: FitConfig, backbone: Backbone, parts: Parts, folder: Path, bad: list[str], progress: bool
) -> tuple[Any, dict[str, Any]]:
    """The state of a detector that is fitted once, and what meta.json says of its training or its members'.

    folder: of the training; those of members are beside it. bad: takes a line for each image left out.

    Raises:
      UserError: as `jaxqc.anomaly.training.train_state` and `jaxqc.anomaly.fits.collected`. SystemExit: 143 after
        SIGTERM in a training.
    """
    detector, seen = config.ready, in_tiles(parts, config)
    if is_trained(detector):
        state, about = train_state(config, detector, backbone, seen, folder, bad, progress)
        return settled(detector, backbone, state, seen, config), about
    others, about = with_trained(config, backbone, seen, folder, progress)
    with Progress("fitting", len(seen.fit), progress) as counter:
        state = collected(others, backbone, parts.fit, bad, counter.add)
    return settled(detector, backbone, state, seen, config), about


def in_tiles(parts: Parts, config: FitConfig) -> Parts:
    """The parts as their images are seen: of a recipe with tiles, the tiles' samples; of defective ones, those with
    a defect.

    Raises:
      UserError: an image or mask that cannot be read.
    """
    data = config.data
    if not data.tile or data.tiling is None:
        return parts
    cut = lambda part: replace(part, samples=fitted_samples(part, data))
    defects = parts.defects
    if defects is not None and getattr(config.ready, "labelled", False):
        defects = drawn_tiles(with_masks(defects), data.tiling, share=1.0, seed=config.seed)
    return replace(parts, fit=cut(parts.fit), calibrate=cut(parts.calibrate), defects=defects)


def remarks_of(training: Mapping[str, Any]) -> tuple[str, ...]:
    """Lines worth showing of what meta.json says of a training, or of those of members.

    Examples:
      >>> remarks_of({"step": 9, "warnings": ["the critic won"], "defects": {"used": 1, "left_out": ["b.png: empty"]}})
      ('the critic won', 'b.png: empty')
    """
    own = (*training.get("warnings", ()), *training.get("defects", {}).get("left_out", ()))
    members = (line for each in training.get("members", {}).values() for line in remarks_of(each))
    return tuple(dict.fromkeys((*own, *members)))


def with_trained(
    config: FitConfig, backbone: Backbone, parts: Parts, folder: Path, progress: bool
) -> tuple[FitConfig, dict[str, Any]]:
    """The recipe that fits a detector's other members, with those trained that are, and what meta.json says of these.

    folder: beside which each training has its own. A recipe whose detector has none stays as it is.

    Raises:
      UserError: as `jaxqc.anomaly.training.train_state`. SystemExit: 143 after SIGTERM.
    """
    trained, about = dict[str, Given](), dict[str, Any]()
    for learner in config.learners:
        own = replace(config, detector=learner.settings, backbone=learner.backbone)
        seen = part_of(backbone, config.backbone, learner.backbone)
        place = place_of(learner.name, folder)
        state, about[learner.name] = train_state(own, learner.ready, seen, parts, place, [], progress)
        state = settled(learner.ready, seen, state, parts, own)
        trained[learner.name] = Given(state, unit_of(learner.ready, seen, state, parts.fit, own))
    if not trained:
        return config, {}
    ensemble: Any = config.detector
    return replace(config, detector=ensemble.given(trained)), {"members": about}


def part_of(backbone: Backbone, whole: BackboneConfig, part: BackboneConfig) -> Backbone:
    """The part of a loaded backbone that a part of its config applies (`BackboneConfig.at`).

    Examples:
      >>> from jaxqc.anomaly.features import load_backbone
      >>> whole = BackboneConfig("filters+pixels", layers=(1,))
      >>> part_of(load_backbone(whole), whole, whole.at((1,))).shapes(8)
      ((8, 8, 3),)
    """
    variables = backbone.variables
    if len(whole.parts) > 1:
        variables = {name: variables[name] for name in part.parts if name in variables}
        if len(part.parts) == 1:
            variables = variables.get(part.name, {})
    return replace(backbone, variables=variables, apply=apply_function(part))


def unit_of(detector: Trained, backbone: Backbone, state: Any, part: Dataset, config: FitConfig) -> float:
    """The mean of a trained detector's maps over the first images of a part, as an ensemble has it of its others.

    Raises:
      UserError: none of them can be used.
    """
    embed, size = apply_function(config.backbone, detector.embed), config.data.size
    call = jax.jit(lambda state, variables, images: detector.score(state, embed(variables, images), size)[0])
    means = [
        np.asarray(call(state, backbone.variables, images))[number >= 0].mean((1, 2))
        for images, _, number in load_batches(part.samples[:MEASURED], size, config.batch, [], unmasked=True)
    ]
    if not means:
        raise UserError(f"the first {MEASURED} images set the members' units, and none can be used; remove them")
    return max(float(np.concatenate(means).mean()), 1e-6)
