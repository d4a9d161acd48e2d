"""`jaxqc verify`: a checkpoint's golden output, recomputed."""

import argparse
from typing import Any

from jaxqc.cli.parser import Parser, add_verb


def add(verbs: Any) -> Parser:
    """Adds the verb's parser."""
    text = "Recompute a checkpoint's golden output and say how far off this machine is."
    parser = add_verb(verbs, "verify", text, "  jaxqc verify runs/first")
    parser.add_argument("checkpoint", metavar="DIR", help="run folder")
    parser.add_argument("--tolerance", type=float, metavar="X", help="largest difference (default: by dtype)")
    return parser


def run(args: argparse.Namespace) -> int:
    """Recomputes it and prints the differences; 1 where they are too large."""
    from jaxqc.training.cache import enable_compilation_cache
    from jaxqc.verify import verify

    enable_compilation_cache()
    verdict = verify(args.checkpoint, args.tolerance)
    print("\n".join(verdict.lines()))
    return 0 if verdict.ok else 1
