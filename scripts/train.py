"""`jaxqc train` as a file, for launchers that want one: python scripts/train.py --config FILE --data DIR --out DIR."""

import sys

from jaxqc.cli import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
