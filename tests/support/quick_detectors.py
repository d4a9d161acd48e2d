"""Settings of every detector for tiny boards, with which it goes from fit to export in seconds."""

from dataclasses import replace
from typing import Any

from jaxqc.anomaly.detectors import (
    DETECTORS,
    AnomalyDino,
    Ast,
    Dsr,
    Gaussian,
    NearestWords,
    PatchCore,
    Spade,
    Uninformed,
)
from jaxqc.anomaly.detectors.asymmetric import AST_FLOW
from jaxqc.anomaly.detectors.base import TrainingConfig
from jaxqc.anomaly.detectors.combined import Combined, Member
from jaxqc.anomaly.detectors.flow import Cflow, CsFlow, DifferNet, FastFlow, MsFlow
from jaxqc.anomaly.detectors.one_class import (
    Centring,
    CutPaste,
    DeepSvdd,
    Fcdd,
    Geom,
    Goad,
    PatchSvdd,
    Piecing,
    Placing,
)
from jaxqc.anomaly.detectors.patches import AnoVit, InTra, VtAdl
from jaxqc.anomaly.detectors.reconstruction import ReconstructionConfig
from jaxqc.anomaly.detectors.reconstruction_codes import MemAe, Vae, VaeAttention, VaeGmm, VaeProjection
from jaxqc.anomaly.detectors.reconstruction_members import ConvAe, Draem, Riad, StainAe
from jaxqc.anomaly.detectors.reconstruction_parts import DescentConfig, MemoryConfig
from jaxqc.anomaly.detectors.reconstruction_players import (
    WGAN_TRAINING,
    Alocc,
    AnoGan,
    Egbad,
    FAnoGan,
    Ganomaly,
    OcrGan,
    SkipGanomaly,
)
from jaxqc.anomaly.detectors.retrieval import Cpr, Pni
from jaxqc.anomaly.detectors.several import Acdn, Mscdae, MsFcae
from jaxqc.anomaly.detectors.token_members import UniAd
from jaxqc.anomaly.detectors.token_settings import TokensConfig
from jaxqc.anomaly.detectors.trainings import ADAM
from jaxqc.anomaly.detectors.transformations import Transforming

QUICK: dict[str, Any] = {
    "gaussian": Gaussian(channels=30),
    "patchcore": PatchCore(width=48, coreset=0.05, projection=16),
    "anomaly_dino": AnomalyDino(coreset=0.05, projection=16),
    "spade": Spade(images=4),
    "dictionary": NearestWords(words=8),
    "combined": Combined((Member(Gaussian(8), (1,)), Member(Spade(images=2))), "median", window=4, top=3),
    "fastflow": FastFlow(blocks=(1,), kernels=(1,), whiten=True),
    "cflow": Cflow(blocks=(1,), condition=8),
    "msflow": MsFlow(blocks=(1,), condition=8),
    "cs_flow": CsFlow(blocks=(1,), width=8, scales=(1,)),
    "cpr": Cpr(width=8, references=6, words=4, images=1, reach=0, top=0.5),
    "pni": Pni(width=8, coreset=0.02, words=8, reach=1, hidden=8),
    "uninformed": Uninformed(copies=2),
    "ast": Ast(replace(AST_FLOW, blocks=(1,), width=8, condition=8), width=8, blocks=1),
    "reconstruction": ReconstructionConfig(
        widths=(4, 4), kernels=(5, 5), strides=(2, 2), skips="add", corrupt="stain", share=0.5, window=3
    ),
    "stain_ae": StainAe(width=0.25),
    "conv_ae": ConvAe(width=0.25),
    "draem": Draem(width=1 / 32),
    "uniad": UniAd(tokens=TokensConfig(8, 2, 1, 16, hide=3)),
    "dsr": Dsr(width=1 / 16, codes=16),
    "intra": InTra(side=16, dim=8, heads=2, layers=3, hidden=16, near=3),
    "anovit": AnoVit(side=16, dim=16, heads=2, layers=1, hidden=16),
    "vt_adl": VtAdl(dim=64, heads=2, layers=1, hidden=16, components=2),
    "mscdae": Mscdae(width=4, depth=2, count=2),
    "ms_fcae": MsFcae(width=4, depth=2, count=2),
    "acdn": Acdn(width=4, depth=2),
    "riad": Riad(width=1 / 16),
    "vae": Vae(width=1 / 8, latent=8),
    "vae_projection": VaeProjection(width=1 / 8, latent=8, descent=DescentConfig(steps=3)),
    "vae_attention": VaeAttention(width=1 / 8, latent=8),
    "vae_gmm": VaeGmm(width=1 / 8, latent=4),
    "memae": MemAe(width=1 / 16, memory=MemoryConfig(slots=20, least=0.05)),
    "ganomaly": Ganomaly(width=1 / 16, latent=8),
    "skip_ganomaly": SkipGanomaly(width=1 / 16),
    "ocr_gan": OcrGan(width=1 / 16),
    "alocc": Alocc(width=1 / 16),
    "egbad": Egbad(width=1 / 16, latent=8),
    "anogan": AnoGan(width=1 / 16, latent=8, descent=DescentConfig(3, 0.1)),
    "f_anogan": FAnoGan(width=1 / 16, latent=8, start=replace(WGAN_TRAINING, epochs=4.0, batch=4)),
    "fcdd": Fcdd(convs=(4,), sigma=4.0, training=TrainingConfig()),
    "cutpaste": CutPaste(pieces=Piecing(hidden=(8,), patch=32)),
    "patch_svdd": PatchSvdd(width=1 / 8, position=Placing(bank=64)),
    "deep_svdd": DeepSvdd(width=1 / 8, centre=Centring(features=16, start=TrainingConfig(2.0, 4, ADAM))),
    "geom": Geom(width=1 / 16, copies=Transforming(("turn",))),
    "goad": Goad(width=1 / 16, copies=Transforming(("turn",), pull=0.1)),
    "differnet": DifferNet(blocks=(1,), width=8, scales=(1, 2), turns=2),
}
"""Settings for which the defaults would take too long here."""


def quick(name: str) -> Any:
    """A detector for tiny boards; one that is trained sees them a few times."""
    detector = QUICK.get(name) or DETECTORS[name]()
    training = getattr(detector, "training", None)
    if training is None:
        return detector
    training = replace(training, epochs=4.0, batch=4, optim=replace(training.optim, warmup_epochs=0.0))
    before = {"flow": replace(detector.flow, training=training)} if hasattr(detector, "flow") else {}
    before |= {name: training for name in ("codebook", "restore") if hasattr(detector, name)}
    return replace(detector, training=training, **before)
