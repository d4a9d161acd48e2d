"""The trainings of the distillations, as published: length, batch and optimiser."""

from dataclasses import replace

from jaxqc.anomaly.detectors.base import TrainingConfig
from jaxqc.config import OptimConfig

ADAM = OptimConfig("adam", weight_decay=0.0, warmup_epochs=0.0, schedule="constant", clip=0.0)
"""Adam at a constant rate, of which the members' optimisers are changes; nothing is augmented."""
STFPM_TRAINING = TrainingConfig(
    100.0, 32, replace(ADAM, name="sgd", lr=0.4, nesterov=False, weight_decay=1e-4, decay="all")
)
"""The authors' training: plain momentum of 0.9."""
RD4AD_TRAINING = TrainingConfig(200.0, 16, replace(ADAM, lr=5e-3, beta1=0.5))
"""The authors' training."""
DINOMALY_TRAINING = TrainingConfig(
    320.0,
    16,
    OptimConfig(
        "stable_adamw",
        lr=2e-3,
        weight_decay=1e-4,
        decay="all",
        warmup_epochs=6.0,
        schedule="cosine",
        floor=2e-4,
        clip=0.1,
    ),
)
"""The authors' 5,000 steps of 16 images, 100 of them warm-up, where there are about 250 images."""
INP_FORMER_TRAINING = replace(
    DINOMALY_TRAINING, epochs=200.0, optim=replace(DINOMALY_TRAINING.optim, lr=1e-3, floor=1e-4, eps=1e-10)
)
"""The authors' training."""
CDO_TRAINING = TrainingConfig(
    100.0, 16, replace(ADAM, lr=5e-4, beta1=0.5, schedule="step", milestones=(0.8,)), cache="none"
)
"""The authors' training."""
EFFICIENT_AD_TRAINING = TrainingConfig(
    280.0, 1, replace(ADAM, lr=1e-4, weight_decay=1e-5, decay="all", schedule="step", milestones=(0.95,))
)
"""The authors' 70,000 steps of one image, where there are about 250 images; a larger batch takes fewer steps."""
DESTSEG_TRAINING = TrainingConfig(700.0, 32, STFPM_TRAINING.optim)
"""The authors' 5,000 steps of 32 images, where there are about 250; the head has its own rates."""
UNINFORMED_TRAINING = TrainingConfig(100.0, 1, replace(ADAM, lr=1e-4, weight_decay=1e-5, decay="all"))
"""The authors' training."""
SALEHI_TRAINING = TrainingConfig(601.0, 64, replace(ADAM, lr=1e-3))
"""The authors' training."""
