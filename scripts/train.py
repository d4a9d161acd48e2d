"""`jaxqc train` as a file, for launchers that want one: python scripts/train.py --config FILE --data DIR --out DIR."""

import sys

from jaxqc.cli import main
from jaxqc.memory import use_huge_pages

if __name__ == "__main__":
    use_huge_pages()
    sys.exit(main(["train", *sys.argv[1:]]))
