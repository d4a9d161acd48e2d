"""The service at work: a server on the demo's model of wood, to which two suppliers deliver lots until Ctrl-C.

make serve-demo          (or: python scripts/serve_demo.py --out demo)

The model is that of `make demo`; where it is not there, scripts/demo_wood.py makes it, in about a minute. The ledger
begins as a copy of the demo's, or empty, in OUT/serve, which every start replaces.
"""

import argparse
import http.client
import io
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode, urlsplit

# Boards are made by many tiny matrix products, which a thread pool slows down tenfold. Read when numpy is imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from PIL import Image

from jaxqc.data.synthetic.deliveries import PRODUCTS, Delivered, delivered

BEGAN = time.monotonic()
KIND, SIZE, DIFFICULTY = "wood", 128, 0.35
"""As in the demo on wood."""
SEED = 30
"""Seed of the first deliveries; none of the demo's other parts draws such boards."""
LOTS = 6
"""Lots of each supplier until the one who drifts is where he ends; then he begins anew."""
EARLIER = 6
"""Lots of each supplier that the demo's own ledger may hold."""
DRAIN = 90
"""Seconds for the server's end."""


def main() -> int:
    """Runs the demo until SIGINT or SIGTERM; 0 where the server began and ended as it should."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("demo"))
    parser.add_argument("--port", type=int, default=8000, help="0: a free one")
    parser.add_argument("--every", type=float, default=2.0, metavar="S", help="seconds between two images")
    parser.add_argument("--begin", type=int, default=48, metavar="N", help="images that arrive at once")
    parser.add_argument("--images", type=int, default=16, metavar="N", help="of each lot")
    parser.add_argument("--most", type=int, default=0, metavar="N", help="images after which it ends (default: never)")
    parser.add_argument("--size", type=int, default=SIZE, metavar="N", help="side of the images in pixels")
    args = parser.parse_args()

    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    model = args.out / KIND
    if not (model / "SHA256SUMS").is_file():
        say("no model yet; making it takes about a minute")
        code = make_model(args.out, stop)
        if stop.is_set() or not (model / "SHA256SUMS").is_file():
            return 0 if stop.is_set() else code or 1
    ledger = fresh_ledger(args.out)
    command = [sys.executable, "-m", "jaxqc", "serve", "--checkpoint", model, "--ledger", ledger, "--port",
               str(args.port), "--max-batch", "4", "--quiet"]  # fmt: skip
    # A session of its own: Ctrl-C reaches this program alone, which then ends the server in order.
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        assert server.stdout is not None
        address = server.stdout.readline().strip()
        if not address:
            return server.wait(DRAIN)
        say("the server makes its model ready")
        if not ready(address, server, stop):
            return 0 if stop.is_set() else 1
        print(f"\n    {address}\n\nTwo suppliers deliver boards; one of them grows worse. Ctrl-C ends it.", flush=True)
        sent = feed(address, args, server, stop)
        say(f"{sent} images were delivered")
    finally:
        server.terminate()
        code = server.wait(DRAIN)
    return code


def make_model(out: Path, stop: threading.Event) -> int:
    """Runs the demo on wood; returns its exit code."""
    made = subprocess.Popen([sys.executable, Path(__file__).with_name("demo_wood.py"), "--out", out])
    while made.poll() is None:
        if stop.wait(0.3):
            made.terminate()
            break
    return made.wait(DRAIN)


def fresh_ledger(out: Path) -> Path:
    """The ledger's file in a folder that is empty but for a copy of the demo's ledger, where there is one."""
    folder = out / "serve"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    ledger, known = folder / "ledger.sqlite", out / f"inspection_{KIND}" / "ledger.sqlite"
    if known.is_file():
        shutil.copyfile(known, ledger)
    return ledger


def ready(address: str, server: subprocess.Popen[str], stop: threading.Event) -> bool:
    """Waits until the server takes images; False where it ended, or shall end."""
    while not stop.wait(0.3):
        if server.poll() is not None:
            return False
        try:
            if ask(address, "GET", "/readyz")[0] == 200:
                return True
        except OSError:
            continue
    return False


def endless(images: int, size: int) -> Iterator[Delivered]:
    """Deliveries without an end, each round of lots by a seed of its own."""
    for turn in itertools.count():
        earlier = EARLIER + turn * LOTS
        yield from delivered(KIND, LOTS, images, size, SEED + turn, DIFFICULTY, in_turns=True, earlier=earlier)


def feed(address: str, args: argparse.Namespace, server: subprocess.Popen[str], stop: threading.Event) -> int:
    """Sends images until it is stopped, the first ones at once; returns how many."""
    sent = 0
    for one in endless(args.images, args.size):
        if stop.wait(0 if sent < args.begin else args.every) or server.poll() is not None:
            break
        out = io.BytesIO()
        Image.fromarray(one.image).save(out, "PNG")
        about = {"image": f"{one.lot}/{one.number:03}.png", "lot": one.lot, "supplier": one.supplier,
                 "product": PRODUCTS[KIND], "line": f"line {1 + one.round % 2}"}  # fmt: skip
        try:
            status, answer = ask(address, "POST", f"/v1/inspect?{urlencode(about)}", out.getvalue())
        except OSError:
            break  # the server ends
        if status != 200:
            say(f"{about['image']}: {json.loads(answer)['error']}")
        sent += status == 200
        if args.most and sent >= args.most:
            break
    return sent


def ask(address: str, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
    """Status and body of the server's answer. Raises OSError where there is none."""
    line = http.client.HTTPConnection(urlsplit(address).netloc, timeout=60)
    try:
        line.request(method, path, body, {"Content-Type": "image/png"} if body else {})
        answer = line.getresponse()
        return answer.status, answer.read()
    except http.client.HTTPException as e:
        raise ConnectionError(str(e)) from e
    finally:
        line.close()


def say(text: str) -> None:
    """A line of progress, with the seconds since the start."""
    print(f"serve-demo: {time.monotonic() - BEGAN:3.0f} s  {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
