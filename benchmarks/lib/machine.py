"""The machine that is measured: its name and versions, how much memory was taken, CPU devices simulated on it."""

import datetime
import os
import platform
import resource
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import jax

from jaxqc.nn.onednn import build

Row = dict[str, Any]
"""One measurement."""


def resident_memory() -> int:
    """Bytes of this process in memory now; its high-water mark where there is no /proc."""
    pages = Path("/proc/self/statm")
    if not pages.exists():
        return peak_memory()["host_peak"] or 0
    return int(pages.read_text().split()[1]) * resource.getpagesize()


def peak_memory() -> dict[str, int | None]:
    """High-water marks in bytes: `host_peak` of this process, `device_peak` of the first device (None on CPU)."""
    stats = jax.local_devices()[0].memory_stats() or {}
    host = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    status = Path("/proc/self/status")
    if status.exists():
        marks = [line for line in status.read_text().splitlines() if line.startswith("VmHWM")]
        host = int(marks[0].split()[1]) * 1024 if marks else host
    return {"host_peak": host, "device_peak": stats.get("peak_bytes_in_use")}


def environment() -> Row:
    """Versions and machine, as every row carries them. Starts the JAX backend."""
    versions = {"python": platform.python_version()}
    for name in ("jax", "jaxlib", "flax", "numpy", "grain", "torch"):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    device = jax.devices()[0]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "versions": versions,
        "commit": _commit(),
        "platform": device.platform,
        "device": device.device_kind if device.platform != "cpu" else _cpu_name(),
        "devices": jax.device_count(),
        "convolutions": "oneDNN" if build.library() else "XLA",
        "cores": cores,
        "load": round(os.getloadavg()[0], 2),
    }


def simulate_devices(count: int) -> None:
    """Splits the CPU into `count` devices; call it before anything else touches JAX. They share the same cores."""
    jax.config.update("jax_num_cpu_devices", count)


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "cpu"
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _commit() -> str | None:
    root = Path(__file__).resolve().parent
    done = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=root, capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or None
