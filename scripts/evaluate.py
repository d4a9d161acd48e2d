"""`jaxqc evaluate` as a file: python scripts/evaluate.py --checkpoint DIR --data DIR."""

import sys

from jaxqc.cli import main

if __name__ == "__main__":
    sys.exit(main(["evaluate", *sys.argv[1:]]))
