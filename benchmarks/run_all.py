"""`make bench`: runs the benchmarks, prints the ratios beside their targets, writes this machine's part of the docs.

    python -m benchmarks.run_all                      # everything; long: every compiled setting is tried
    python -m benchmarks.run_all --budget 90          # at most 90 s for the choice of each peer's setting
    python -m benchmarks.run_all --peer-python PATH   # an interpreter that has anomalib, for the detectors' peer
    python -m benchmarks.run_all --quick              # small sizes, to see that all of it runs; writes no docs
    python -m benchmarks.run_all --rows build/gpu/bench.jsonl   # only write the docs, from rows measured elsewhere

`docs/throughput/machines/` holds a page for each machine; a run writes its own machine's page and leaves the rest.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks.lib.common import table
from benchmarks.lib.machine import Row
from benchmarks.lib.targets import CPU_TARGETS, GPU_TARGETS, REBUILDING
from jaxqc.memory import use_huge_pages

ROOT = Path(__file__).resolve().parents[1]
PAGES = ROOT / "docs" / "throughput" / "machines"
OUT = ROOT / "build" / "bench"


TABLES = {
    "inference": ("Inference", ("model", "name", "batch", "dtype", "images_per_s", "ms", "spread", "p50_ms", "p99_ms",
                                "mfu", "vs_reference", "vs_eager", "vs_best")),
    "step": ("Training step", ("model", "name", "batch", "dtype", "images_per_s", "ms", "spread", "mfu", "compile_s",
                               "share_of_pure", "input_wait", "vs_reference", "vs_eager", "vs_best")),
    "backbone": ("Frozen backbones", ("model", "name", "batch", "dtype", "images_per_s", "ms", "spread", "mfu",
                                      "compile_s", "vs_eager", "vs_best")),
    "fit": ("Gaussian fit", ("name", "n", "ms", "spread", "compile_s", "memory_mb", "vs_anomalib", "memory_share",
                             "distance_error", "note")),
    "score": ("Gaussian score beside PaDiM", ("name", "d", "batch", "images_per_s", "ms", "spread", "compile_s",
                                              "vs_anomalib")),
    "coreset": ("PatchCore's coreset", ("name", "n", "width", "kept", "ms", "spread", "compile_s", "radius",
                                        "vs_anomalib")),
    "fit-cost": ("Gaussian fit as the work grows", ("name", "n", "d", "grid", "ms", "spread", "compile_s", "memory_mb",
                                                    "state_mb")),
    "learned": ("Learned detectors beside anomalib's", ("model", "name", "batch", "size", "dtype", "images_per_s", "ms",
                                                        "spread", "compile_s", "parameters", "vs_eager", "vs_best",
                                                        "map_difference")),
    "learned-savings": ("Exact savings", ("name", "model", "work", "batch", "ms", "spread", "without_ms", "brings",
                                          "difference", "note")),
    "semi-step": ("Semi-supervised step", ("model", "method", "name", "size", "batch", "dtype", "attention",
                                           "images_per_s", "ms", "spread", "mfu", "compile_s", "memory_mb", "share",
                                           "vs_reference", "vs_eager", "vs_best")),
    "semi-plan": ("Semi-supervised step as XLA plans it for a GPU", (
        "model", "method", "size", "batch", "micro", "dtype", "attention", "gpu", "memory_gb", "state_gb", "share",
        "attention_calls", "products", "convolutions", "compile_s")),
    "segment": ("Segmenting whole images", ("model", "name", "side", "input", "batch", "dtype", "images_per_s", "ms",
                                            "spread", "mfu", "compile_s", "vs_full", "vs_eager", "vs_best")),
    "depthwise": ("Depthwise convolution", ("name", "shape", "dtype", "forward_ms", "gradient_ms", "spread")),
    "compile": ("Compile time, cold", ("name", "batch", "size", "trace_s", "compile_s", "total_s", "wall_s")),
    "postprocess": ("From maps to defects", ("name", "maps", "batch", "side", "defects", "images_per_s", "ms", "spread",
                                             "of_scoring")),
    "inspect": ("Inspecting JPEG files, stage by stage", ("model", "name", "batch", "side", "images_per_s", "ms",
                                                          "spread", "slowest_stage")),
    "input": ("Input pipeline", ("name", "workers", "batch", "images_per_s", "spread")),
    "scaling": ("Devices", ("name", "mode", "backend", "devices", "processes", "images_per_s", "efficiency", "spread")),
}  # fmt: skip


def jobs(
    quick: bool, accelerator: bool, budget: float | None = None, peer_python: str | None = None
) -> list[list[str]]:
    """Command lines (without the interpreter) in the order they run. budget: seconds for the choice of each peer's
    setting; None leaves the programs' own. peer_python: an interpreter that has anomalib; without it, the detectors are
    measured alone."""
    anomalib = ["--peer-python", peer_python] if peer_python else []
    if quick:
        small = ["--batch", "2", "--size", "64", "--rounds", "3", "--seconds", "0.1"]
        return [
            ["benchmarks.inference", "--model", "minet", *small, "--calls", "10"],
            ["benchmarks.step", "--model", "tscarnet", *small, "--images", "8"],
            ["benchmarks.compile", "--model", "minet", "--batch", "2", "--size", "64", "--programs", "inference"],
            ["benchmarks.backbone", "--model", "resnet18", *small],
            ["benchmarks.postprocess", *small[2:], "--side", "64", "--batches", "1", "2", "--noise-batches"],
            ["benchmarks.fit", *anomalib, *small, "--backbone", "resnet18", "--samples", "10", "--channels", "20",
             "--grids", "8", "--peer-channels", "10", "--width", "64", "--cost-samples", "5", "30", "--cost-channels",
             "10", "--cost-grids", "4"],
            ["benchmarks.learned", *anomalib, *small, "--members", "stfpm", "--work", "score"],
            ["benchmarks.semi_step", "--encoder", "vit_tiny14", *small, "--size", "56", "--classes", "5", "--past", "0",
             "1"],
            ["benchmarks.segment", "--encoder", "vit_tiny14", "--side", "70", "--long-side", "0", "56",
             "--classes", "5", "--rounds", "3", "--seconds", "0.1"],
        ]  # fmt: skip
    batch, dtype = ("256", "bfloat16") if accelerator else ("16", "float32")
    common = ["--batch", batch, "--dtype", dtype]
    best = ["--peer", "best", *(["--budget", f"{budget:g}"] if budget else [])]
    run = [["benchmarks.inference", "--model", name, *common, *best] for name in ("minet", "tscarnet")]
    run += [["benchmarks.step", "--model", "tscarnet", *common, *best]]
    run += [["benchmarks.step", "--model", "tscarnet", *common, "--peer", "off", "--backend", "shard_map", "--parts"]]
    run += [["benchmarks.step", "--model", "minet", *common, *best, "--parts"]]
    run += [["benchmarks.backbone", "--model", "resnet50", *common, *best]]
    run += [["benchmarks.fit", *anomalib, "--rounds", "3"]]
    run += [["benchmarks.learned", *anomalib, "--dtype", dtype, *best], ["benchmarks.learned", "--savings"]]
    rebuilding = ["--members", "conv_ae", *REBUILDING, "--batch", "2", "--rounds", "3"]
    run += [["benchmarks.learned", *anomalib, "--dtype", dtype, *best, *rebuilding]]
    large = ["--encoder", "dinov2_vitb14" if accelerator else "dinov2_vits14", "--dtype", dtype]
    views = ["--size", "518", "--batch", "16"] if accelerator else ["--size", "224", "--batch", "4", "--rounds", "5"]
    run += [["benchmarks.semi_step", *large, *views, *best, "--past", "0", "1", "2", "3"]]
    run += [["benchmarks.segment", *large, "--batch", "16" if accelerator else "1", *best]]
    run += [["benchmarks.depthwise", "--dtype", dtype], ["benchmarks.compile", "--model", "tscarnet"]]
    # Simulated devices share a CPU's cores: small images show their overhead in minutes.
    scaling = [] if accelerator else ["--size", "96", "--devices", "1", "2", "4", "--mode", "strong"]
    run += [["benchmarks.postprocess", "--model", "tscarnet", "--dtype", dtype]]
    run += [["benchmarks.inspect_images", "--model", "tscarnet"]]
    return [*run, ["benchmarks.input"], ["benchmarks.scaling", *scaling]]


def run_jobs(commands: Iterable[Sequence[str]], out: Path) -> list[Row]:
    """Runs each as a process of its own and reads its rows; a failing one is named and passed over."""
    out.mkdir(parents=True, exist_ok=True)
    rows: list[Row] = []
    for i, command in enumerate(commands):
        target = out / f"{i:02d}-{command[0].rpartition('.')[2]}.jsonl"
        target.unlink(missing_ok=True)
        line = ["python", "-m", *command]
        print(f"\n$ {' '.join(line)}", flush=True)
        start = time.perf_counter()
        code = subprocess.run([sys.executable, *line[1:], "--json", str(target)], cwd=ROOT, check=False).returncode
        print(f"({time.perf_counter() - start:.0f} s{'' if code == 0 else f', exit {code}: no rows'})", flush=True)
        if code == 0 and target.exists():
            rows += [{"command": " ".join(line), **row} for row in read_rows([target])]
    return rows


def read_rows(paths: Iterable[Path]) -> list[Row]:
    return [json.loads(line) for path in paths for line in path.read_text().splitlines() if line.strip()]


def machine(row: Row) -> str:
    """The title of a page: what was measured on."""
    return (
        f"{row['device']}, {row['cores']} cores" if row["platform"] == "cpu" else f"{row['devices']} x {row['device']}"
    )


def against_targets(rows: Sequence[Row]) -> list[Row]:
    """One row a target that this run can judge: measured (the best row that fits), target, met."""
    targets = CPU_TARGETS if rows and rows[0]["platform"] == "cpu" else GPU_TARGETS
    out = []
    for t in targets:
        fits = [
            row[t.column]
            for row in rows
            if (row["benchmark"], row.get("model")) == (t.benchmark, t.model)
            and row["name"].startswith(t.name)
            and t.column in row
            and t.batch in (None, row.get("batch"))
        ]
        if fits:
            got = min(fits) if t.most else max(fits)
            met = got <= t.least if t.most else got >= t.least
            goal = f"{'at most' if t.most else 'at least'} {t.least:g}"
            out.append({"target": t.what, "goal": goal, "measured": got, "met": "yes" if met else "NO"})
    return out


def page(rows: Sequence[Row]) -> str:
    """The page of one machine, in Markdown."""
    first = rows[0]
    versions = ", ".join(f"{k} {v}" for k, v in first["versions"].items())
    load = max(row.get("load", 0) for row in rows)
    lines = [f"# {machine(first)}", "", f"{first['time'][:10]}, commit {first['commit']}; {versions}. "
             f"Load average when a program ended: up to {load:g}.", ""]  # fmt: skip
    if judged := against_targets(rows):
        lines += ["## Targets", "", *_markdown(judged, ("target", "goal", "measured", "met")), ""]
    for benchmark, (title, columns) in TABLES.items():
        own = [row for row in rows if row["benchmark"] == benchmark]
        if not own:
            continue
        lines += [f"## {title}", ""]
        commands = list(dict.fromkeys(row["command"] for row in own if "command" in row))
        lines += [*(["```sh", *commands, "```", ""] if commands else []), *_markdown(own, columns), ""]
    return "\n".join(lines).rstrip() + "\n"


def _markdown(rows: Sequence[Row], columns: Iterable[str]) -> list[str]:
    used = [c for c in columns if any(row.get(c) is not None for row in rows)]
    numeric = [any(isinstance(row.get(c), int | float) for row in rows) for c in used]
    lines = ["| " + " | ".join(used) + " |", "|" + "|".join("--:" if n else "---" for n in numeric) + "|"]
    return lines + ["| " + " | ".join(_cell(row.get(c)) for c in used) + " |" for row in rows]


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return str(value).replace("|", "\\|")


def file_name(title: str) -> str:
    """A page's file: the title in small letters, digits and hyphens, without what stands in brackets."""
    plain = re.sub(r"\(.*?\)", "", title).lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-") + ".md"


def write_pages(rows: Sequence[Row], folder: Path = PAGES) -> list[Path]:
    """Writes a page for each machine, in place of the one that it had."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name in dict.fromkeys(machine(row) for row in rows):
        written.append(folder / file_name(name))
        written[-1].write_text(page([row for row in rows if machine(row) == name]), encoding="utf-8")
    return written


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small sizes, and no pages")
    parser.add_argument("--budget", type=float, default=None, help="seconds for the choice of each peer's setting")
    parser.add_argument("--peer-python", default=None, help="interpreter of an environment with anomalib")
    parser.add_argument(
        "--rows", type=Path, nargs="+", default=None, help="JSONL files of rows to write up; nothing runs"
    )
    parser.add_argument("--pages", type=Path, default=PAGES, help="folder of the machines' pages")
    args = parser.parse_args()
    if args.rows:
        rows = read_rows(args.rows)
    else:
        accelerator = os.environ.get("JAX_PLATFORMS", "") != "cpu" and _accelerator()
        rows = run_jobs(jobs(args.quick, accelerator, args.budget, args.peer_python), OUT)
    if not rows:
        raise SystemExit("no rows: every benchmark failed")
    if judged := against_targets(rows):
        table("Targets", judged, ("target", "goal", "measured", "met"))
    if not args.quick:
        for path in write_pages(rows, args.pages):
            print(f"wrote {path}")


def _accelerator() -> bool:
    """Asked of another process, so that this one holds no device while the benchmarks run."""
    code = "import jax; print(jax.default_backend())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    return done.stdout.strip() not in ("", "cpu")


if __name__ == "__main__":
    use_huge_pages()
    main()
