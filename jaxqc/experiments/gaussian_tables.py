"""The tables of the "Gaussian CBAM" paper for any data set: which cells each has, and their results as Markdown."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from jaxqc.anomaly.detectors import Gaussian, PatchCore, Spade
from jaxqc.anomaly.recipe import FitConfig
from jaxqc.experiments.gaussian_cbam import Outcome
from jaxqc.experiments.markdown import mean_and_deviation, table_head, table_row
from jaxqc.models.resnet import BACKBONES as NETWORKS

LAYERS = ((1,), (2,), (3,), (4,), (1, 2), (1, 2, 3), (1, 2, 3, 4))
CHANNELS = (250, 350, 450, 550, 650)
NORMALS = (5, 10, 20, 30, 50)
BACKBONES = ("resnet50", "resnet50_cbam", "resnet101_cbam", "resnet152_cbam")

COLUMNS = {
    "image_auroc": "image AUROC",
    "mean of kinds/image_auroc": "mean of kinds",
    "pixel_auroc": "pixel AUROC",
    "image_f1_max": "image F1",
    "pixel_f1_max": "pixel F1",
    "au_pro": "AU-PRO",
}
"""Columns of a table. F1 is the best over all thresholds, of images and of pixels: the paper does not say which it
means, nor where its threshold is from."""

Paper = tuple[float | None, float | None, float | None]
"""Image AUROC, pixel AUROC and F1."""


@dataclass(frozen=True)
class Line:
    """A row of a table: its recipe, and the paper's numbers for it where the paper has them."""

    label: str
    config: FitConfig
    paper: Paper = (None, None, None)


@dataclass(frozen=True)
class Tables:
    """Variations of the tables. weights: file or name of each backbone's. spade, patchcore: the other detectors."""

    base: FitConfig
    weights: Mapping[str, str]
    channels: Sequence[int] = CHANNELS
    normals: Sequence[int] = NORMALS
    spade: Spade = field(default_factory=Spade)
    patchcore: PatchCore = field(default_factory=PatchCore)

    def lines(self, table: str) -> list[Line]:
        """The rows of one of `TABLES`."""
        return getattr(self, f"_{table}")()

    def _network(self, name: str, layers: tuple[int, ...] | None = None) -> FitConfig:
        backbone = replace(self.base.backbone, name=name, weights=self.weights.get(name, ""))
        return replace(self.base, backbone=replace(backbone, layers=layers or backbone.layers))

    def _gaussian(self, config: FitConfig, channels: int = 0) -> FitConfig:
        """With the base's channels, or all where the layers have fewer; a number that is given stays as it is."""
        network = NETWORKS[config.backbone.name]
        total = sum(network.channels(layer) for layer in config.backbone.layers)
        gaussian = config.detector if isinstance(config.detector, Gaussian) else Gaussian()
        channels = channels or min(gaussian.channels or total, total)
        return replace(config, detector=replace(gaussian, channels=channels))

    def _layers(self) -> list[Line]:
        name = self.base.backbone.name
        return [
            Line(_joined(layers), self._gaussian(self._network(name, layers)), paper)
            for layers, paper in zip(LAYERS, PAPER_LAYERS, strict=True)
        ]

    def _channels(self) -> list[Line]:
        config = self._network(self.base.backbone.name)
        return [Line(f"d = {d}", self._gaussian(config, d), (None, None, PAPER_CHANNELS.get(d))) for d in self.channels]

    def _backbones(self) -> list[Line]:
        names = dict.fromkeys((*BACKBONES, self.base.backbone.name, *self.weights))
        empty: Paper = (None, None, None)
        return [Line(name, self._gaussian(self._network(name)), PAPER_BACKBONES.get(name, empty)) for name in names]

    def _samples(self) -> list[Line]:
        config = self._gaussian(self._network(self.base.backbone.name))
        empty: Paper = (None, None, None)

        def line(n: int) -> Line:
            return Line(
                f"{n} normal", replace(config, data=replace(config.data, samples=n)), PAPER_NORMALS.get(n, empty)
            )

        return [line(n) for n in self.normals]

    def _rivals(self) -> list[Line]:
        config = self._network(self.base.backbone.name)
        patchcore = self._network(self.base.backbone.name, (2, 3))
        return [
            Line(
                f"SPADE, {_joined(config.backbone.layers)}", replace(config, detector=self.spade), (0.983, 0.941, None)
            ),
            Line("PatchCore, layer 2 + 3", replace(patchcore, detector=self.patchcore), (0.992, 0.936, None)),
            Line(f"Gaussian, {_joined(config.backbone.layers)}", self._gaussian(config), (0.998, 0.942, None)),
        ]


TABLES = {
    "layers": "Table 1: layers",
    "channels": "Table 2: channels",
    "backbones": "Table 3: backbones",
    "samples": "Table 4: number of normal images",
    "rivals": "Table 5: other detectors",
}
PAPER_LAYERS: tuple[Paper, ...] = (
    (0.979, 0.931, 0.930),
    (0.986, 0.937, 0.950),
    (0.995, 0.902, 0.976),
    (0.825, 0.747, 0.885),
    (0.986, 0.945, 0.952),
    (0.998, 0.942, 0.983),
    (0.954, 0.789, 0.909),
)
PAPER_CHANNELS = {250: 0.967, 350: 0.960, 450: 0.945, 550: 0.983, 650: 0.952}
PAPER_BACKBONES: dict[str, Paper] = {
    "resnet50": (0.975, 0.942, 0.915),
    "resnet50_cbam": (0.998, 0.942, 0.983),
    "resnet101_cbam": (0.989, 0.945, 0.976),
    "resnet152_cbam": (0.997, 0.938, 0.952),
}
PAPER_NORMALS: dict[int, Paper] = {
    5: (0.982, 0.899, 0.929),
    10: (0.983, 0.922, 0.936),
    20: (0.987, 0.932, 0.944),
    30: (0.990, 0.940, 0.960),
    50: (0.998, 0.942, 0.983),
}


def seeded(config: FitConfig, seed: int) -> FitConfig:
    """The recipe with one seed for all that is drawn: held-out groups, normal images, channels, the coreset's start."""
    draws = hasattr(config.detector, "seed")
    return replace(config, seed=seed, detector=replace(config.detector, seed=seed) if draws else config.detector)


def markdown(table: str, lines: Sequence[Line], seeds: Sequence[int], found: Mapping[FitConfig, Outcome]) -> str:
    """One table: mean ± standard deviation (n - 1) over the seeds, and the paper's numbers on its own data."""
    columns = ["", *COLUMNS.values(), "paper: image AUROC", "pixel AUROC", "F1"]
    out = [f"## {TABLES[table]}", "", *table_head(columns)]
    for line in lines:
        outcomes = [found[seeded(line.config, seed)] for seed in seeds]
        paper = ["" if x is None else f"{x:.3f}" for x in line.paper]
        rows = [x for x in outcomes if not isinstance(x, str)]
        cells = [mean_and_deviation([found["metrics"][key] for found in rows], 4) for key in COLUMNS]
        out.append(table_row([line.label, *cells, *paper]))
        # One line a reason: seeds rarely differ in it.
        for reason in dict.fromkeys(x for x in outcomes if isinstance(x, str)):
            missing = sum(x == reason for x in outcomes)
            out.append(
                table_row([f"— not run for {missing} of {len(seeds)} seeds: {reason}"] + [""] * (len(columns) - 1))
            )
    return "\n".join(out) + "\n"


def _joined(layers: Sequence[int]) -> str:
    return "layer " + " + ".join(map(str, layers))
