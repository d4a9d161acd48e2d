"""`jaxqc serve` in a process of its own, with the small models: run_serve.py ARGUMENTS..."""

import os
import sys

if __name__ == "__main__":
    os.environ.setdefault("XLA_FLAGS", "--xla_force_host_platform_device_count=1")
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    import pytest

    from jaxqc.cli import main
    from tests.support.inspect_models import use_small_models

    use_small_models(pytest.MonkeyPatch())
    sys.exit(main(["serve", *sys.argv[1:]]))
