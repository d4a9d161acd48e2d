"""Does memory stay flat? Resident memory of this process over many training steps, then over many inspected images.

    python -m benchmarks.memory --steps 2500 --inspect 10000 --plot docs/images/memory.png

Trains on generated plates with checkpoints and evaluations as a real run has them, then lets the trained model predict
batches of uint8 images. A row for each part: resident memory in its second fifth and in its last (medians, since a
step's working memory comes and goes), and the growth between them per thousand steps or images.
"""

import argparse
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

import jaxqc
from benchmarks.lib.common import arguments, finish
from benchmarks.lib.machine import Row, resident_memory
from benchmarks.lib.networks import with_command
from jaxqc.config import DataConfig, ModelConfig, Phase, TrainConfig
from jaxqc.data.synthetic.plates import synthetic_arrays
from jaxqc.memory import use_huge_pages
from jaxqc.training.logs import read_rows

COLUMNS = ("name", "done", "seconds", "early_mb", "late_mb", "growth_mb_per_1000", "peak_mb")
Samples = list[tuple[float, float]]
"""Seconds since the start and bytes."""


@contextmanager
def sampled(period: float = 0.25) -> Iterator[Samples]:
    """This process's resident memory, taken in a thread of its own."""
    samples, stop, start = [], threading.Event(), time.monotonic()

    def watch() -> None:
        while not stop.wait(period):
            samples.append((time.monotonic() - start, resident_memory()))

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield samples
    finally:
        stop.set()
        thread.join()


def train(args: argparse.Namespace, folder: Path) -> Samples:
    """(steps done, bytes) of a run whose programs are compiled within its first steps."""
    plates, val = synthetic_arrays(args.plates, args.size, 0), synthetic_arrays(8, args.size, 1)
    epochs = args.steps * args.batch / args.plates
    config = TrainConfig(
        model=ModelConfig(args.model),
        data=DataConfig(protocol="seed"),
        phases=(Phase(epochs=epochs, size=args.size, batch=args.batch),),
        eval_size=args.size,
        eval_every_epochs=epochs / 10,
        checkpoint_every_epochs=epochs / 25,
    )
    with sampled() as samples:
        start = time.monotonic()
        jaxqc.train(config, plates, folder, val=val, progress=False)
        whole = time.monotonic() - start
    rows = [row for row in read_rows(folder / "metrics.jsonl") if row["kind"] == "train"]
    # The log's clock starts with the first step: its last row is the run's end.
    offset = whole - rows[-1]["seconds"]
    seconds, steps = [row["seconds"] + offset for row in rows], [row["step"] for row in rows]
    return [(float(np.interp(at, seconds, steps)), size) for at, size in samples if at >= seconds[0]]


def inspect(args: argparse.Namespace, folder: Path) -> Samples:
    """(images seen, bytes) of a loaded model that predicts batch after batch."""
    model = jaxqc.load(folder)
    rng, samples = np.random.default_rng(0), []
    for seen in range(0, args.inspect, 16):
        model.predict(rng.integers(0, 256, (16, args.size, args.size), np.uint8))
        samples.append((float(seen + 16), float(resident_memory())))
    return samples


def summary(name: str, samples: Samples, seconds: float) -> Row:
    """The row of a part."""
    done = samples[-1][0]
    early = statistics.median(size for at, size in samples if 0.2 * done <= at < 0.4 * done) / 1e6
    late = statistics.median(size for at, size in samples if at >= 0.8 * done) / 1e6
    return {
        "benchmark": "memory", "name": name, "done": int(done), "seconds": seconds, "early_mb": early, "late_mb": late,
        "growth_mb_per_1000": (late - early) / (0.6 * done) * 1e3, "peak_mb": max(size for _, size in samples) / 1e6,
    }  # fmt: skip


def plot(parts: dict[str, Samples], path: Path) -> None:
    """One panel a part, from zero, so that growth is seen in proportion."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.4), layout="constrained")
    FigureCanvasAgg(figure)
    for ax, (name, samples) in zip(np.ravel(figure.subplots(1, len(parts))), parts.items(), strict=True):
        at, size = np.array(samples).T
        ax.plot(at, size / 1e9, linewidth=0.8, color="#0072B2")
        ax.set(title=name, xlabel="training steps" if name == "training" else "images", ylabel="resident memory, GB")
        ax.set_ylim(0, 1.15 * size.max() / 1e9)
        ax.grid(alpha=0.3)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)


def run(args: argparse.Namespace) -> tuple[list[Row], dict[str, Samples]]:
    """The rows and what they are made of."""
    rows, parts = [], {}
    with tempfile.TemporaryDirectory() as name:
        for part, work in (("training", train), ("inspection", inspect)):
            start = time.monotonic()
            parts[part] = work(args, Path(name) / "run")
            rows.append(summary(part, parts[part], time.monotonic() - start))
    return rows, parts


def main() -> None:
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--model", default="tscarnet")
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--plates", type=int, default=128)
    parser.add_argument("--steps", type=int, default=2500)
    parser.add_argument("--inspect", type=int, default=10000, help="images")
    parser.add_argument("--plot", type=Path, default=None, help="PNG to draw")
    args = parser.parse_args()
    rows, parts = run(args)
    if args.plot:
        plot(parts, args.plot)
    finish(with_command(rows), args.json, "memory", COLUMNS)


if __name__ == "__main__":
    use_huge_pages()
    main()
