"""Cost of k past models in a step, for queues of several lengths; a loop over k, against all K at once and in turn.

    python -m benchmarks.history --lengths 4,16 --size 96 --batch 4

`loop` is what the training step runs (`jaxqc.semi.history.mixture`). `scan` and `vmap` know only the most that can be
drawn, K = 3, and pay for all of them: one after the other, or as one batched network.
"""

import jax
import jax.numpy as jnp

from benchmarks.lib.common import arguments, finish, interleave
from benchmarks.lib.machine import Row
from jaxqc.memory import use_huge_pages
from jaxqc.models.resnet import build_backbone
from jaxqc.semi import history

MOST = 3
COLUMNS = ("name", "length", "k", "ms", "spread", "queue_mb")


def rows_of(length: int, backbone: str, batch: int, size: int, rounds: int, seconds: float) -> list[Row]:
    """Times every way with every k, in turns, for one length of the queue."""
    network = build_backbone(backbone, (1, 2, 3))
    image = jax.random.uniform(jax.random.key(1), (batch, size, size, 3))
    variables = jax.jit(network.init)(jax.random.key(0), image)
    queue = history.empty(variables, length)
    push = jax.jit(history.push, donate_argnums=0)
    for _ in range(length):
        queue = push(queue, variables)

    def forward(params: object) -> jax.Array:
        return list(network.apply(params, image).values())[-1]  # type: ignore[arg-type, union-attr]

    def loop(queue: history.History, places: jax.Array, weights: jax.Array, k: jax.Array) -> jax.Array:
        return history.mixture(queue, forward, variables, places, weights, k)

    def scan(queue: history.History, places: jax.Array, weights: jax.Array, k: jax.Array) -> jax.Array:
        step = lambda total, x: (total + x[1] * forward(history.model_at(queue, x[0], variables)), None)
        return jax.nn.softmax(jax.lax.scan(step, jnp.zeros_like(forward(variables)), (places, weights))[0])

    def vmap(queue: history.History, places: jax.Array, weights: jax.Array, k: jax.Array) -> jax.Array:
        models = jax.tree.map(lambda q, v: q[places].astype(v.dtype), queue.params, variables)
        return jax.nn.softmax(jnp.tensordot(weights, jax.vmap(forward)(models), 1))

    candidates = {}
    for name, call, ks in (("loop", loop, range(MOST + 1)), ("scan", scan, (MOST,)), ("vmap", vmap, (MOST,))):
        compiled = jax.jit(call)
        for k in ks:
            given = (queue, jnp.arange(MOST), jnp.full(MOST, 1 / max(k, 1)), jnp.int32(k))
            candidates[f"{name} k={k}"] = lambda compiled=compiled, given=given: compiled(*given)
    megabytes = sum(x.nbytes for x in jax.tree.leaves(queue.params)) / 1e6
    return [
        {
            "benchmark": "history",
            "name": name.split(" ")[0],
            "model": backbone,
            "length": length,
            "k": int(name.split("=")[1]),
            "ms": timing.median * 1e3,
            "spread": timing.spread,
            "queue_mb": megabytes,
            "batch": batch,
            "size": size,
        }
        for name, timing in interleave(candidates, rounds, seconds).items()
    ]


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--lengths", default="4,16", help="lengths of the queue")
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--size", type=int, default=96)
    args = parser.parse_args()
    rows: list[Row] = []
    for length in map(int, args.lengths.split(",")):
        rows += rows_of(length, args.backbone, args.batch, args.size, args.rounds, args.seconds)
    finish(rows, args.json, "past models in a step", COLUMNS)


if __name__ == "__main__":
    use_huge_pages()
    main()
