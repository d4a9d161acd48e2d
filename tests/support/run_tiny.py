"""A real process that trains the tiny method: `run_tiny.py WORKDIR EPOCHS [CONFIG FIELD=VALUE ...]` (JSON values)."""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from jaxqc.config import Phase
from jaxqc.training.loop import run
from jaxqc.training.parallel import start_processes
from tests.support.tiny_method import SIDE, TinyMethod, tiny_config, tiny_data


def main() -> None:
    start_processes()
    folder, epochs, *fields = sys.argv[1:]
    changes = {name: json.loads(value) for name, value in (f.split("=", 1) for f in fields)}
    phases = (Phase(float(epochs), 8, 8), Phase(float(epochs), SIDE, 8))
    result = run(TinyMethod(), tiny_config(phases=phases, **changes), tiny_data(24), tiny_data(6, 1), folder)
    print("finished at step", result.step, flush=True)


if __name__ == "__main__":
    main()
