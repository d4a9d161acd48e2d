"""`jaxqc inspect` from JPEG files: end to end, and each of its stages alone on the same images.

    python -m benchmarks.inspect_images --model tscarnet --json build/bench/inspect.jsonl
    python -m benchmarks.inspect_images --model tscarnet --kind gaussian

`read`: files and their SHA-256; `decode`: bytes → pixels, on the way to the network's size where that is the host's
work; `score`: pixels → maps at the network's size, on the device; `judge`: maps → the image's size, defects, findings;
`keep`: findings → the ledger (SQLite, synced), findings.jsonl and the gallery. `inspect` does all of it side by side,
lots and the report at the end; `slowest_stage`: its rate as a share of that of the slowest stage.
"""

import argparse
import itertools
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from PIL import Image

from benchmarks.lib.common import arguments, finish, in_turns, result
from benchmarks.lib.machine import Row
from benchmarks.lib.networks import CLASSES, MEAN, STD, chosen_config, model_arguments, random_variables, with_command
from jaxqc.data.batches import decoded
from jaxqc.data.decode import read_bytes
from jaxqc.data.synthetic.plates import synthetic_arrays
from jaxqc.inspection.inspect import inspect
from jaxqc.inspection.ledger.rows import batched
from jaxqc.inspection.ledger.store import open_ledger
from jaxqc.inspection.manifest import read_manifest
from jaxqc.inspection.report.gallery import Gallery
from jaxqc.inspection.results import Findings, Problems
from jaxqc.inspection.rules import GradeRules
from jaxqc.inspection.scorers import info_of, make_scorer
from jaxqc.inspection.stream import THREADS, Line, Stream
from jaxqc.progress import Progress
from jaxqc.saliency.model import Model

COLUMNS = ("model", "name", "batch", "side", "images_per_s", "ms", "spread", "slowest_stage")


def write_images(folder: Path, count: int, side: int) -> None:
    """JPEG files of synthetic plates in four lots."""
    arrays = synthetic_arrays(count, side, seed=4)
    for i, image in enumerate(arrays.images):
        file = folder / f"lot{i % 4}" / f"{i:05d}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[..., 0]).save(file, quality=92)


def network(args: argparse.Namespace) -> Model:
    """A saliency network with random weights."""
    from jaxqc.saliency.networks import build

    config = chosen_config(args)
    variables = random_variables(build(config.model.name, len(CLASSES), config.model.width))
    model = Model(variables, config, {"classes": CLASSES, "mean": MEAN, "std": STD}, batch=args.batch)
    model.size = args.size
    return model


def detector(args: argparse.Namespace, folder: Path) -> Any:
    """A Gaussian detector on ResNet-50 with random weights, fitted to some of the images."""
    from jaxqc.anomaly.features import Backbone, apply_function
    from jaxqc.anomaly.fit import fit
    from jaxqc.anomaly.recipe import BackboneConfig, FitConfig, FitDataConfig
    from jaxqc.data.dataset import Dataset, Sample
    from jaxqc.models.resnet import build_backbone
    from jaxqc.nn.fold import fold_batch_norm

    backbone = BackboneConfig("resnet50", "random", (1, 2, 3), args.dtype)
    variables = random_variables(build_backbone("resnet50", (1, 2, 3)), varied=True, train=False)
    files = sorted(folder.rglob("*.jpg"))[:48]
    samples = tuple(
        Sample(f.name, f, label=0, split="test" if i % 6 == 5 else "train", normal=True) for i, f in enumerate(files)
    )
    config = FitConfig(backbone=backbone, data=FitDataConfig(size=args.size), batch=args.batch, devices=1)
    loaded = Backbone(fold_batch_norm(variables), apply_function(backbone), {})
    return fit(config, Dataset("plates", ("good",), samples), progress=False, backbone=loaded).model


def stages(model: Any, images: Path, scratch: Path, stack: ExitStack) -> dict[str, Callable[[], Any]]:
    """Every stage alone, on what the stage before left. What it opens, `stack` closes."""
    scorer, rules = make_scorer(model, devices=1), GradeRules()
    info, items = info_of(scorer, rules, None), read_manifest(images).items
    number = itertools.count()

    def stream(where: Path, opened: ExitStack) -> Any:
        ledger = opened.enter_context(open_ledger(where / "ledger.sqlite"))
        findings = opened.enter_context(Findings(where / "findings.jsonl", ledger, info.digest))
        problems = opened.enter_context(Problems(where / "problems.csv"))
        return Stream(
            scorer, rules, None, info, ledger, findings, problems, Gallery(where / "gallery"), Progress("", 0, False)
        )

    def fresh() -> Path:
        where = scratch / str(next(number))
        where.mkdir()
        return where

    read = [(item, *found) for item, found in decoded(items, lambda item: read_bytes(item.image)) if found]
    first = stream(fresh(), stack)
    lines = [Line(source[0], source[1], *found) for source, found in decoded(read, first.decode)]
    groups = list(batched(lines, scorer.batch))

    def score() -> list[Any]:
        return [raw for group in groups for raw in scorer.score([line.prepared for line in group], 0)]

    raw = score()

    def judge() -> list[Any]:
        with ThreadPoolExecutor(THREADS) as pool:
            return list(pool.map(first.examine, lines, raw))

    judged = judge()

    def keep() -> None:
        with ExitStack() as opened:
            own = stream(fresh(), opened)
            for group in batched(judged, scorer.batch):
                own.keep(group)

    return {
        "read": lambda: list(decoded(items, lambda item: read_bytes(item.image))),
        "decode": lambda: list(decoded(read, first.decode)),
        "score": score,
        "judge": judge,
        "keep": keep,
        "inspect": lambda: inspect(model, images, fresh(), rules=rules, devices=1, progress=False),
    }


def run(args: argparse.Namespace) -> list[Row]:
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as stack:
        images = Path(scratch) / "images"
        write_images(images, args.images, args.side)
        model = network(args) if args.kind == "network" else detector(args, images)
        timings = in_turns(stages(model, images, Path(scratch), stack), args.rounds, 600)
        slowest = max(timing.median for name, timing in timings.items() if name != "inspect")
        for name, timing in timings.items():
            more: Row = {"model": args.model if args.kind == "network" else args.kind, "batch": args.batch,
                         "side": args.side, "dtype": args.dtype}  # fmt: skip
            if name == "inspect":
                more["slowest_stage"] = slowest / timing.median
            rows.append(result("inspect", name, timing, images=args.images, **more))
    return rows


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = model_arguments(arguments(__doc__.splitlines()[0]), batch=16)
    parser.add_argument("--kind", choices=("network", "gaussian"), default="network")
    parser.add_argument("--images", type=int, default=256, help="how many files")
    parser.add_argument("--side", type=int, default=200, help="side of the image files")
    parser.set_defaults(model="tscarnet", rounds=5)
    return parser.parse_args(argv)


def main() -> None:
    args = parse()
    title = f"{args.images} JPEG files of {args.side}x{args.side} inspected"
    finish(with_command(run(args)), args.json, title, COLUMNS)


if __name__ == "__main__":
    main()
