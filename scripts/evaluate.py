"""`jaxqc evaluate` as a file: python scripts/evaluate.py --checkpoint DIR --data DIR."""

import sys

from jaxqc.cli import main
from jaxqc.memory import use_huge_pages

if __name__ == "__main__":
    use_huge_pages()
    sys.exit(main(["evaluate", *sys.argv[1:]]))
