"""The goals of the benchmarks, by rows of their tables."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Target:
    """A ratio or rate that a row must reach: its benchmark, model and name (start), its column, the least value."""

    benchmark: str
    model: str | None
    name: str
    column: str
    least: float
    what: str
    batch: int | None = None
    most: bool = False
    """`least` is the most that is allowed."""


LEARNED = {"stfpm": 8, "rd4ad": 8, "fastflow": 8, "cflow": 8, "efficient_ad": 1}
"""Learned detectors, and the batch of their training step."""
REBUILDING = ("draem", "ganomaly", "dsr")
"""Those of images, at batch 2, beside anomalib's; and a plain autoencoder beside the same in PyTorch."""
CPU_TARGETS = (
    Target("inference", "minet", "jaxqc backbone", "vs_best", 2.0, "MINet inference, batch 16, over torch's best", 16),
    Target("inference", "minet", "jaxqc backbone", "vs_best", 4.0, "MINet inference, batch 1, over torch's best", 1),
    Target("inference", "minet", "jaxqc backbone", "vs_eager", 2.0, "MINet inference, batch 16, over torch folded", 16),
    Target("inference", "minet", "jaxqc backbone", "vs_eager", 4.0, "MINet inference, batch 1, over torch folded", 1),
    Target("inference", "tscarnet", "jaxqc backbone", "vs_best", 2.0, "TSCARNet inference, batch 16, over best", 16),
    Target("inference", "tscarnet", "jaxqc backbone", "vs_best", 4.0, "TSCARNet inference, batch 1, over best", 1),
    Target("step", "tscarnet", "jaxqc pure", "vs_eager", 3.0, "TSCARNet training step over torch eager"),
    Target("step", "tscarnet", "jaxqc pure", "images_per_s", 10.0, "TSCARNet training step, images/s at 224"),
    Target("step", "tscarnet", "jaxqc resident", "share_of_pure", 0.9, "resident mode's share of the pure step"),
    Target("step", "tscarnet", "jaxqc pure", "compile_s", 25.0, "TSCARNet training step, compile seconds", most=True),
    Target("backbone", "resnet50", "jaxqc", "vs_best", 1.0, "ResNet-50 layers 1-3, batch 16, over torch's best", 16),
    Target("backbone", "resnet50", "jaxqc", "vs_best", 1.0, "ResNet-50 layers 1-3, batch 1, over torch's best", 1),
    Target("fit", None, "jaxqc d550 grid 28", "vs_anomalib", 20.0, "Gaussian fit, 50 images, d 550, over anomalib's"),
    Target("fit", None, "jaxqc d550 grid 28", "memory_share", 0.125, "its memory as a share of anomalib's", most=True),
    Target("score", None, "jaxqc whole", "vs_anomalib", 1.5, "Gaussian score d 550, over anomalib's PaDiM d 100"),
    Target("coreset", None, "jaxqc", "vs_anomalib", 20.0, "PatchCore's coreset, over anomalib's"),
    Target("semi-step", "dinov2_vits14", "jaxqc step, views", "vs_best", 1.2, "UniMatch V2 step, S at 224, over best"),
    *(Target("learned", name, "jaxqc score", "vs_best", 1.2, f"{name}, scoring, batch {batch}, over best", batch)
      for name in LEARNED for batch in (1, 8)),
    *(Target("learned", name, "jaxqc step, features", "vs_best", 1.5, f"{name}, step from features, over best", batch)
      for name, batch in LEARNED.items()),
    *(Target("learned", name, f"jaxqc {work}", "vs_best", 1.2, f"{name}, {work}, batch 2, over best", 2)
      for name in REBUILDING for work in ("score", "step, images")),
    Target("learned", "conv_ae", "jaxqc score", "vs_eager", 2.0, "autoencoder, scoring, batch 2, over torch eager", 2),
)  # fmt: skip
GPU_TARGETS = (
    Target("inference", "tscarnet", "jaxqc backbone", "vs_best", 1.5, "TSCARNet inference over torch.compile"),
    Target("inference", "minet", "jaxqc backbone", "vs_best", 1.5, "MINet inference over torch.compile"),
    Target("inference", "tscarnet", "jaxqc backbone", "images_per_s", 20_000, "TSCARNet inference, images/s at 224"),
    Target("step", "tscarnet", "jaxqc pure", "vs_best", 1.5, "TSCARNet training step over torch.compile"),
    Target("step", "tscarnet", "jaxqc resident", "share_of_pure", 0.9, "resident mode's share of the pure step"),
    Target("semi-step", "dinov2_vitb14", "jaxqc step", "mfu", 0.4, "UniMatch V2 step, B at 518, 16 + 16, MFU", 16),
    Target("semi-step", "dinov2_vitb14", "jaxqc step, views", "vs_best", 1.2, "the same over torch.compile", 16),
)
