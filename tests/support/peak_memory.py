"""A real process that predicts one image file in tiles and prints its peak memory: `peak_memory.py IMAGE OUT`."""

import resource
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

from jaxqc.anomaly.detectors import Gaussian
from jaxqc.anomaly.features import load_backbone
from jaxqc.anomaly.fits import uncalibrated
from jaxqc.anomaly.recipe import BackboneConfig, FitConfig, FitDataConfig
from jaxqc.anomaly.thresholds import Thresholds
from jaxqc.pictures.maps import predict_folder


def main() -> None:
    image, out = map(Path, sys.argv[1:])
    data = FitDataConfig(size=128, tile=512, overlap=64)
    config = FitConfig(Gaussian(0, sigma=1.0), BackboneConfig("filters", layers=(1,)), data, batch=8)
    backbone = load_backbone(config.backbone)
    shapes = backbone.shapes(config.data.size)
    draws = np.random.default_rng(0).normal(size=(4, *shapes[0])).astype(np.float32)
    collected = config.detector.collect(config.detector.begin(shapes, 4), (draws,), np.arange(4))
    model = uncalibrated(config, config.detector.finish(collected, shapes), backbone)
    model.thresholds = Thresholds(30.0, 30.0, "drawn", 0.0, 60.0)
    result = predict_folder(model, image, out, progress=False)
    assert len(result.written) == 1, result.unreadable
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, result.images_per_second)


if __name__ == "__main__":
    main()
