#!/usr/bin/env bash
# Checks and times on a GPU machine everything that only a GPU can tell; needs no network. Run it from the checkout:
#
#     scripts/gpu_check.sh [--minutes N] [--only "tests depthwise inference step compile detectors semi sweep train"] [--limit S] [--smoke]
#
#   --minutes N   time for the full recipe's training (default 0: none); a later call goes on from where it stopped
#   --only LIST   these parts only                    --limit S  most seconds for one command (default 600)
#   --recipe F    config to train (default configs/tscarnet_sd900.py)
#   --smoke       tiny sizes on whatever device there is, to try the script itself
# PEER_PYTHON names an interpreter with anomalib, for the learned detectors' peer (docs/throughput).
#
# What such a machine lacks travels in the git-ignored folder carry/:
#   carry/wheels/*.whl        packages that are missing there (pip download --no-deps --only-binary=:all: ...)
#   carry/sd-saliency-900/    the data set, for the training run
#   carry/run.tgz             an earlier call's run.tgz, to go on with
# Results go to $OUT (default build/gpu): environment.txt, summary.txt, log.txt, bench.jsonl, machines/, run.tgz.
set -uo pipefail
cd "$(dirname "$0")/.."

minutes=0 only="tests depthwise inference step compile detectors semi sweep train" limit=600 recipe=configs/tscarnet_sd900.py smoke=
while [ $# -gt 0 ]; do
  case "$1" in
    --minutes) minutes=${2:?}; shift 2 ;;
    --only) only=${2:?}; shift 2 ;;
    --limit) limit=${2:?}; shift 2 ;;
    --recipe) recipe=${2:?}; shift 2 ;;
    --smoke) smoke=1; shift ;;
    *) echo "gpu_check.sh: unknown argument $1 (see the head of the script)" >&2; exit 2 ;;
  esac
done
for part in $only; do
  case " tests depthwise inference step compile detectors semi sweep train " in
    *" $part "*) ;;
    *) echo "gpu_check.sh: --only: no part called $part (tests depthwise inference step compile detectors semi sweep train)" >&2; exit 2 ;;
  esac
done

python=${PYTHON:-python3}
out=${OUT:-build/gpu} work=build/gpu-work
mkdir -p "$out" "$work"
out=$(cd "$out" && pwd)
: >"$out/summary.txt"
: >"$out/log.txt"
: >"$out/bench.jsonl"
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1 JAXQC_CACHE=off
failed=0

if compgen -G "carry/wheels/*.whl" >/dev/null; then
  "$python" -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --upgrade \
    --target "$work/site" carry/wheels/*.whl || exit 1
  export PYTHONPATH="$PYTHONPATH:$PWD/$work/site"
fi

# Says what the machine is and what it lacks; ends the script where JAX has no GPU.
SMOKE=$smoke "$python" - <<'PY' 2>&1 | tee "$out/environment.txt"
import importlib.util, os, platform, shutil, subprocess, sys
from importlib import metadata

needs = {"everything": "jax flax optax numpy einops jaxtyping rich PIL scipy",
         "training": "orbax.checkpoint grain tyro tensorboardX", "peers": "torch", "tests": "pytest hypothesis",
         "evaluation": "matplotlib"}
def there(name):
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False
print("python", platform.python_version())
for name in ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "torch", "triton", "numpy"):
    try:
        print(name, metadata.version(name))
    except metadata.PackageNotFoundError:
        print(name, "absent")
for use, names in needs.items():
    missing = [n for n in names.split() if not there(n)]
    if missing:
        print(f"MISSING for {use}: {' '.join(missing)} (put wheels into carry/wheels)")
if shutil.which("nvidia-smi"):
    query = "--query-gpu=name,memory.total,driver_version"
    subprocess.run(["nvidia-smi", query, "--format=csv,noheader"], check=False)
import jax
print("devices", jax.devices())
sys.exit(0 if os.environ.get("SMOKE") or jax.default_backend() == "gpu" else 1)
PY
if [ "${PIPESTATUS[0]}" -ne 0 ]; then
  echo "gpu_check.sh: JAX sees no GPU here, or a package is missing (above)" >&2
  exit 1
fi

# part NAME SECONDS COMMAND...: runs one command within a time limit, logs it whole, notes its outcome, goes on.
part() {
  local name=$1 seconds=$2 start=$SECONDS code
  shift 2
  printf '\n== %s\n$ %s\n' "$name" "$*" | tee -a "$out/log.txt"
  timeout --signal=TERM --kill-after=60 "$seconds" "$@" >"$work/part.log" 2>&1
  code=$?
  cat "$work/part.log" >>"$out/log.txt"
  tail -n 40 "$work/part.log"
  [ "$code" -eq 0 ] || failed=1
  printf '%-34s %-9s %5d s\n' "$name" "$([ "$code" -eq 0 ] && echo ok || echo "exit $code")" $((SECONDS - start)) \
    | tee -a "$out/summary.txt"
  return "$code"
}
wanted() { case " $only " in *" $1 "*) return 0 ;; *) return 1 ;; esac; }
bench() { local name=$1; shift; part "$name" "$limit" "$python" -m "$@" --json "$out/bench.jsonl"; }

if wanted tests; then
  # Full float32: TF32 would be compared with PyTorch's float32 on the CPU, at 1e-4. Warnings of other versions pass.
  marks="slow or not slow"
  [ -z "$smoke" ] || marks="not slow"
  JAX_PLATFORMS=$([ -z "$smoke" ] && echo cuda || echo cpu) JAX_DEFAULT_MATMUL_PRECISION=highest \
    NVIDIA_TF32_OVERRIDE=0 part "parity and layer tests" "$limit" "$python" -m pytest -q -p no:cacheprovider \
    -W default -m "$marks" tests/peers tests/models tests/nn tests/anomaly tests/semi
fi

if wanted depthwise; then
  for dtype in bfloat16 float32; do
    bench "depthwise $dtype" benchmarks.depthwise --batch $([ -z "$smoke" ] && echo 256 || echo 1) --dtype $dtype
  done
fi

quick=()
[ -z "$smoke" ] || quick=(--size 64 --rounds 2 --seconds 0.05)
size_of() { [ -z "$smoke" ] && echo "$1" || echo 2; }

if wanted inference; then
  small=()
  [ -z "$smoke" ] || small=(--calls 10 --side 50)
  for model in tscarnet minet; do
    bench "inference $model bf16 best peer" benchmarks.inference --model $model --dtype bfloat16 \
      --batch "$(size_of 256)" --peer "$([ -z "$smoke" ] && echo best || echo eager)" --budget $((limit / 4)) \
      "${quick[@]}" "${small[@]}"
    [ -z "$smoke" ] || continue
    bench "inference $model fp32 best peer" benchmarks.inference --model $model --batch 256 --peer best \
      --budget $((limit / 4))
    for batch in 16 64 1024; do
      bench "inference $model bf16 batch $batch" benchmarks.inference --model $model --dtype bfloat16 \
        --batch $batch --peer eager --calls 20
    done
  done
fi

if wanted step; then
  bench "step bf16 best peer" benchmarks.step --dtype bfloat16 --batch "$(size_of 64)" --images 512 \
    --peer "$([ -z "$smoke" ] && echo best || echo eager)" --budget $((limit / 2)) "${quick[@]}"
  if [ -z "$smoke" ]; then
    bench "step fp32 best peer" benchmarks.step --batch 64 --images 512 --peer best --budget $((limit / 2))
    for batch in 16 256; do
      bench "step bf16 batch $batch" benchmarks.step --dtype bfloat16 --batch $batch --images 512 --peer eager
    done
    bench "step bf16 shard_map" benchmarks.step --dtype bfloat16 --batch 64 --peer off --backend shard_map --parts
  fi
fi

if wanted compile; then
  bench "compile time" benchmarks.compile --batch "$(size_of 64)" --dtype bfloat16 ${smoke:+--size 64 --programs inference}
fi

if wanted detectors; then
  small=(--samples 6 --channels 8 --grids 4 --batch 2 --width 32 --backbone resnet18 --cost-samples 3 --cost-channels 8
    --cost-grids 4)
  [ -n "$smoke" ] || small=(--size 224 --batch 64)
  bench "backbone best peer" benchmarks.backbone --model "$([ -z "$smoke" ] && echo resnet50 || echo resnet18)" \
    --batch "$(size_of 256)" --dtype bfloat16 --peer "$([ -z "$smoke" ] && echo best || echo eager)" \
    --budget $((limit / 4)) "${quick[@]}"
  bench "fit, score, coreset, cost" benchmarks.fit "${quick[@]}" "${small[@]}"
  learned=(--members stfpm --work score --batch 2)
  [ -n "$smoke" ] || learned=(--batch 1 8 64)
  bench "learned detectors" benchmarks.learned "${quick[@]}" "${learned[@]}" \
    ${PEER_PYTHON:+--peer-python "$PEER_PYTHON" --peer best --budget $((limit / 8))}
  bench "learned detectors, savings" benchmarks.learned "${quick[@]}" --batch "$(size_of 64)" \
    --savings $([ -z "$smoke" ] || echo g)
fi

if wanted semi || wanted sweep; then
  # Without a peer beside it the step may have the whole card.
  semi() { local name=$1; shift; bench "semi $name" benchmarks.semi_step --dtype bfloat16 "${vit[@]}" "$@"; }
  alone() { XLA_PYTHON_CLIENT_MEM_FRACTION=0.9 semi "$@" --peer off; }
  if [ -n "$smoke" ]; then
    vit=(--encoder vit_tiny14 --classes 5 --size 56 --rounds 2 --seconds 0.05)
  else
    vit=(--encoder dinov2_vitb14 --size 518)
  fi
fi

# Beside torch.compile: the two batches and segmenting. A compiled step takes minutes, so the sweep is a part of its own.
if wanted semi; then
  if [ -n "$smoke" ]; then
    semi "tiny eager peer" --batch 2
    bench "segment tiny" benchmarks.segment --encoder vit_tiny14 --side 70 --long-side 0 56 --classes 5 --rounds 2 \
      --seconds 0.05
  else
    semi "B 518 16 + 16 best peer" --batch 16 --attention cudnn --peer best --budget $((limit / 3))
    semi "B 518 4 + 4 best peer" --batch 4 --attention cudnn --peer best --budget $((limit / 3))
    bench "segment B bf16 best peer" benchmarks.segment --encoder dinov2_vitb14 --batch 16 --dtype bfloat16 \
      --peer best --budget $((limit / 3))
  fi
fi

# Batches with their memory, what cuDNN's attention brings, an odd number of tokens, past models.
if wanted sweep; then
  if [ -n "$smoke" ]; then
    alone "tiny xla" --batch 2 --attention xla --parts --past 0 1
  else
    for batch in 16 2 4 8; do
      alone "B 518 cudnn batch $batch" --batch $batch --attention cudnn --parts
    done
    alone "B 518 past models" --batch 16 --attention cudnn --parts --past 0 1 2 3
    alone "S 224 (an odd number of tokens)" --encoder dinov2_vits14 --size 224 --batch 16 --attention cudnn --parts
    for batch in 4 16; do
      alone "B 518 xla batch $batch" --batch $batch --attention xla --parts
    done
  fi
fi

if wanted train && [ "$minutes" != 0 ]; then
  if [ ! -d carry/sd-saliency-900 ]; then
    echo "training: left out, no carry/sd-saliency-900" | tee -a "$out/summary.txt"
  else
    run=$work/run
    [ -d "$run" ] || { mkdir -p "$run" && { [ ! -f carry/run.tgz ] || tar xzf carry/run.tgz -C "$run"; }; }
    # At the limit the run gets SIGTERM, saves its state and leaves with 143; the next call resumes it.
    JAXQC_CACHE="$PWD/$work/jax-cache" part "train $recipe" "$(awk "BEGIN { print int($minutes * 60) }")" \
      "$python" -m jaxqc train --config "$recipe" --data carry/sd-saliency-900 --out "$run"
    part "evaluate" "$limit" "$python" -m jaxqc evaluate --checkpoint "$run" --data carry/sd-saliency-900
    part "verify" "$limit" "$python" -m jaxqc verify "$run"
    tar czf "$out/run.tgz" -C "$run" .
    tail -n 2 "$run/metrics.jsonl" >>"$out/summary.txt"
  fi
fi

if [ -s "$out/bench.jsonl" ]; then
  rm -rf "$out/machines"
  "$python" -m benchmarks.run_all --rows "$out/bench.jsonl" --pages "$out/machines"
fi
printf '\n'
cat "$out/summary.txt"
exit $failed
