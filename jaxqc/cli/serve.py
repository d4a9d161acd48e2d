"""`jaxqc serve`: inspection over HTTP, into the same ledger."""

import argparse
import re
import sys
from pathlib import Path
from typing import Any

from jaxqc.cli.parser import Parser, add_verb
from jaxqc.cli.shared import load_model, of_product
from jaxqc.errors import UserError

EXAMPLES = """\
  jaxqc serve --checkpoint runs/tiles --ledger quality.sqlite
  jaxqc serve --checkpoint runs/tiles --ledger quality.sqlite --image-size 1024x1280 --max-batch 8
  jaxqc serve --checkpoint runs/tiles --ledger quality.sqlite --host 0.0.0.0 --token-file token.txt
  curl --data-binary @17.png -H 'Content-Type: image/png' 'http://127.0.0.1:8000/v1/inspect?lot=L-7&supplier=North'
An image comes in, its verdict and defects go back, and both are kept: findings in the ledger, pictures in a folder
beside it. The same image again gets the stored answer. The address itself is a page for people; /openapi.json describes
all calls. Only this machine can call, unless --host says otherwise; then each call needs the token. SIGTERM or Ctrl-C
finishes what is in flight, and the exit code is 0.
"""


def add(verbs: Any) -> Parser:
    """Adds the verb's parser."""
    parser = add_verb(verbs, "serve", "Inspect images that come over HTTP, and show what the ledger knows.", EXAMPLES)
    add = parser.add_argument
    several = "run folder of a training or a fit; several: requests name one, and the first is for those that do not"
    add("--checkpoint", required=True, action="append", metavar="DIR", help=several)
    add("--which", choices=("best", "last"), default="best", help="which of its checkpoints")
    where = "SQLite file, or postgresql://user@host/database (a password is best kept in ~/.pgpass)"
    add("--ledger", required=True, metavar="FILE", help=where)
    add("--pictures", metavar="DIR", help="folder that keeps the images (default: the ledger's file with .pictures)")
    add("--host", default="127.0.0.1", metavar="NAME", help="address to listen at (default: this machine alone)")
    add("--port", type=int, default=8000, metavar="N", help="(default: 8000; 0: a free one)")
    add("--token-file", metavar="FILE", help="file of the secret that callers send as `Authorization: Bearer`")
    add("--allow-origin", action="append", default=[], metavar="URL", help="web pages of this origin may call")
    add("--rules", metavar="FILE", help="rules of inspection, a .py file (it is run: it is code)")
    add("--mm-per-pixel", type=float, metavar="X", help="scale of the images: lengths in mm too")
    add("--product", metavar="NAME", help="a detector of several products: by whose thresholds images are judged")
    add("--threshold", type=float, metavar="X", help="of the maps, in (0, 1] (default: the checkpoint's)")
    size = "size of images to come, for which all is compiled before the server is ready; may be repeated"
    add("--image-size", action="append", default=[], metavar="HxW", help=f"{size} (default: the model's)")
    add("--max-batch", type=int, default=16, metavar="N", help="most images scored at once: 1, 2, 4, 8, 16 or 32")
    add("--max-wait-ms", type=float, default=5.0, metavar="X", help="time that an image waits for others")
    add("--queue", type=int, default=256, metavar="N", help="most images in flight; more are refused with 503")
    add("--deadline-s", type=float, default=30.0, metavar="X", help="most seconds of a request")
    add("--max-bytes", type=int, default=2**26, metavar="N", help="most bytes of a request")
    add("--max-pixels", type=int, default=100_000_000, metavar="N", help="most pixels of an image")
    add("--max-parts", type=int, default=64, metavar="N", help="most images of a request")
    add("--devices", type=int, default=0, metavar="N", help="that take batches in turns (default: all)")
    add("--quiet", action="store_true", help="no lines on what is compiled")
    return parser


def run(args: argparse.Namespace) -> int:
    """Loads everything, serves until it is asked to stop."""
    from jaxqc.inspection.ledger.store import open_ledger
    from jaxqc.inspection.rules import load_rules
    from jaxqc.serve.settings import Batches, Limits, Settings

    batches = Batches(args.max_batch, args.max_wait_ms, args.queue, deadline_s=args.deadline_s)
    limits = Limits(body=args.max_bytes, pixels=args.max_pixels, parts=args.max_parts)
    settings = Settings(args.host, args.port, _token(args.token_file), tuple(args.allow_origin), batches, limits)
    shapes = [_size(text) for text in args.image_size]
    pictures = args.pictures or _beside(args.ledger)
    _check_extra()
    rules = load_rules(args.rules)

    from jaxqc.serve.engine import make_engine, shape_of
    from jaxqc.serve.server import serve
    from jaxqc.serve.service import Service
    from jaxqc.serve.store import Store

    note = lambda text: print(text, file=sys.stderr, flush=True)
    engines = []
    for folder in args.checkpoint:
        one = argparse.Namespace(checkpoint=folder, which=args.which, batch=args.max_batch)
        model = of_product(load_model(one), args.product)
        engines.append(make_engine(model, args.max_batch, rules=rules, mm_per_pixel=args.mm_per_pixel,
                                   threshold=args.threshold, devices=args.devices, note=note))  # fmt: skip
        shapes = shapes if args.image_size else [*dict.fromkeys([*shapes, shape_of(model)])]
    store = Store(pictures)
    store.open()
    with open_ledger(args.ledger, note=note) as ledger:
        for engine in engines:
            note(f"{engine.info.name} {engine.info.digest[:12]}, threshold {engine.scorer.threshold:.4g}"
                 f" ({engine.scorer.how})")  # fmt: skip
        note(f"ledger {ledger.name}, pictures {store.folder}")
        quiet = lambda text: None if args.quiet and text != "ready" else note(text)
        service = Service(engines, ledger, store, settings, shapes, quiet)
        host = f"[{args.host}]" if ":" in args.host and not args.host.startswith("[") else args.host
        serve(service, lambda port: print(f"http://{host}:{port}", flush=True))
    return 0


def _check_extra() -> None:
    try:
        import fastapi  # noqa: F401
        import multipart  # noqa: F401
        import prometheus_client  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as e:
        raise UserError(f"serve: the package {e.name} is not installed; pip install 'jaxqc[serve]'") from e


def _token(file: str | None) -> str:
    """The secret of a file; "" without one."""
    if file is None:
        return ""
    try:
        token = Path(file).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as e:
        raise UserError(f"--token-file: {file} cannot be read ({getattr(e, 'strerror', None) or 'no UTF-8'})") from e
    if len(token) < 16 or not token.isascii() or not token.isprintable() or " " in token:
        raise UserError(f"--token-file: {file} needs one line of 16 or more letters and digits, without blanks")
    return token


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text)
    height, width = (int(match[1]), int(match[2])) if match else (0, 0)
    if not height or not width:
        raise UserError(f"--image-size: {text!r} is no height and width, such as 1024x1280")
    return height, width


def _beside(ledger: str) -> str:
    if "://" in ledger:
        raise UserError("--pictures: a ledger on a server has no folder beside it; give one that keeps the images")
    return f"{ledger}.pictures"
