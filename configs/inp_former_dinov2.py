"""INP-Former as published, on DINOv2-B with registers at 392 pixels, 200 epochs. No figure is claimed: it was not
measured.

    jaxqc fit --config inp_former_dinov2 --backbone.weights FILE --data NORMALS --out runs/inp_former

FILE is DINOv2's, or a conversion of it. The authors cut 392 pixels out of 448; here whole images are resized.
"""

from jaxqc.anomaly.detectors import InpFormer
from jaxqc.anomaly.recipe import BackboneConfig, FitConfig, FitDataConfig


def get_config() -> FitConfig:
    """The recipe."""
    return FitConfig(
        detector=InpFormer(),
        backbone=BackboneConfig("dinov2_vitb14_reg", layers=(3, 4, 5, 6, 7, 8, 9, 10), tokens=True),
        data=FitDataConfig(size=392),
    )
