"""The verb `export`. Nothing heavy is imported before it runs."""

import argparse

from jaxqc.errors import UserError


def run(args: argparse.Namespace) -> int:
    """Exports a checkpoint and prints what goes in, what comes out, and how well it agrees."""
    if args.size and (args.height or args.width):
        raise UserError("--size: stands for both --height and --width; give it or those")
    from jaxqc.export.write import write
    from jaxqc.training.cache import enable_compilation_cache

    enable_compilation_cache()
    meta = write(
        args.checkpoint,
        args.out,
        args.format,
        height=args.size or args.height,
        width=args.size or args.width,
        batch=args.batch,
        platforms=args.platforms,
        which=args.which,
    )
    print(f"{args.out}: {meta['kind']}, {meta['name']}, {meta['weights']['count']:,} numbers, {meta['graph']}")
    shown = [("image", meta["input"]), *meta["outputs"].items()]
    for name, value in shown:
        print(f"  {name:14} {value['dtype']} {_shape(value['shape'])}  {value.get('meaning', 'pixels, RGB')}")
    parity = meta["parity"]
    if parity is None:
        print(
            f"not checked: this machine is none of {', '.join(meta['platforms'])}; run jaxqc verify {args.out} on one"
        )
    else:
        found = ", ".join(f"{name} {value:.1e}" for name, value in parity["differences"].items())
        print(f"agrees with the checkpoint: {found} (numbers may differ by {parity['tolerance']:.0e}, labels and masks "
              f"in {parity['share']:.1%} of the pixels)")  # fmt: skip
    print(f"next: {'examples/use_onnx.py' if meta['graph'] == 'onnx' else f'jaxqc verify {args.out}'}")
    return 0


def _shape(sizes: list[int | str]) -> str:
    return f"[{' '.join(map(str, sizes))}]"
