"""One process of a fit: run_fit.py DATA WEIGHTS OUT METHOD; joined to others by the environment."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from jaxqc.training.parallel import start_processes


def recipe(method: str, weights: str) -> Any:
    """The fit's configuration. Its imports follow on the joining of processes, which must come first."""
    from jaxqc.anomaly.detectors import Gaussian, PatchCore, Stfpm
    from jaxqc.anomaly.recipe import BackboneConfig, DecisionConfig, FitConfig, FitDataConfig
    from tests.support import narrow

    short = replace(Stfpm().training, epochs=12.0, batch=4, checkpoint_every_epochs=1.0, evaluate_every_epochs=2.0)
    detectors = {
        "gaussian": Gaussian(channels=30),
        "patchcore": PatchCore(width=48, coreset=0.05, projection=16),
        "stfpm": Stfpm(training=short),
    }
    return FitConfig(
        detector=detectors[method],
        backbone=BackboneConfig(narrow.NAME, weights, (1, 2)),
        data=FitDataConfig(size=48),
        decision=DecisionConfig(folds=1),
        batch=2,
        pasted=20,
    )


if __name__ == "__main__":
    start_processes()
    from jaxqc.anomaly.fit import fit
    from jaxqc.data.readers import open_dataset
    from jaxqc.models.resnet import BACKBONES
    from tests.support import narrow

    BACKBONES[narrow.NAME] = narrow.SPEC

    data, weights, out, method = sys.argv[1:]
    fit(recipe(method, weights), open_dataset(data), out, progress=False)
