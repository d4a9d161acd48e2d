"""A PyTorch peer's best setting: every way of running it, tried quickly, and the fastest kept."""

import contextlib
import copy
import signal
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from benchmarks.peers.torch_minet import Mixing, fold, set_mixing

Call = Callable[[], Any]


@dataclass(frozen=True)
class Setting:
    """One way of running a peer. `compile` is `off`, `default` or `max-autotune`; `freezing` lets the compiler treat
    weights as constants (inference only); `mixing` is the form of MINet's per-channel scale mixing."""

    mixing: Mixing = "loop"
    folded: bool = False
    channels_last: bool = False
    compile: Literal["off", "default", "max-autotune"] = "off"
    freezing: bool = False
    bf16: bool = False

    @property
    def name(self) -> str:
        parts = ["eager" if self.compile == "off" else f"compile({self.compile})", self.mixing]
        flags = {"folded": self.folded, "channels_last": self.channels_last, "freezing": self.freezing}
        return " ".join(parts + [k for k, on in flags.items() if on] + (["bf16"] if self.bf16 else []))


REFERENCE = Setting()
"""The network as its authors run it: eager, batch norm apart, one convolution a channel in the scale mixing."""


def inference_settings(bf16: bool = False, compiled: bool = True) -> list[Setting]:
    """Settings worth trying for inference, cheapest to prepare first."""
    forms: tuple[Mixing, ...] = ("grouped", "sum")
    eager = [Setting(m, True, last, bf16=bf16) for m in forms for last in (False, True)]
    out = [Setting(bf16=bf16), Setting("grouped", bf16=bf16), *eager]
    if compiled:
        out += [Setting(m, True, last, "default", True, bf16) for m in forms for last in (False, True)]
        out += [Setting("sum", True, last, "max-autotune", True, bf16) for last in (False, True)]
    return out


def train_settings(bf16: bool = False, compiled: bool = True) -> list[Setting]:
    """Settings worth trying for a training step, cheapest to prepare first."""
    forms: tuple[Mixing, ...] = ("grouped", "sum")
    out = [Setting(m, channels_last=last, bf16=bf16) for m in forms for last in (False, True)]
    if compiled:
        out += [Setting("sum", channels_last=last, compile="default", bf16=bf16) for last in (False, True)]
        out += [Setting("sum", channels_last=True, compile="max-autotune", bf16=bf16)]
    return out


def arrange(model: nn.Module, setting: Setting, device: str | torch.device) -> nn.Module:
    """A copy of the model on the device, folded, mixed and laid out as the setting says."""
    model = fold(model) if setting.folded else copy.deepcopy(model)
    model = set_mixing(model, setting.mixing).to(device)
    return model.to(memory_format=torch.channels_last) if setting.channels_last else model


def layout(x: Tensor, setting: Setting) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last if setting.channels_last else torch.contiguous_format)


def autocast(setting: Setting, device: torch.device) -> contextlib.AbstractContextManager:
    return torch.autocast(device.type, torch.bfloat16) if setting.bf16 else contextlib.nullcontext()


@contextlib.contextmanager
def compiling(setting: Setting) -> Iterator[None]:
    """Inductor's switches that `torch.compile` itself does not take together with a mode; needed while compiling."""
    if setting.compile == "off":
        yield
        return
    import torch._inductor.config as inductor

    with inductor.patch(freezing=setting.freezing), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the compiler's own remarks about this machine
        yield


def compiled(fn: Callable[..., Any], setting: Setting) -> Callable[..., Any]:
    if setting.compile == "off":
        return fn
    # all settings compile the same code objects; a reset between them would throw the best one away
    torch._dynamo.config.recompile_limit = 256
    torch._dynamo.config.accumulated_recompile_limit = 1024
    return torch.compile(fn, mode=None if setting.compile == "default" else setting.compile, dynamic=False)


def library_switches() -> None:
    """cuDNN's own search and TF32, as XLA uses them by default; harmless without a GPU."""
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = True
    torch.backends.cuda.matmul.allow_tf32 = True


def inference_call(model: nn.Module, setting: Setting, x: Tensor) -> Callable[..., Any]:
    """`call()` runs the network on `x` [n 3 h w] (laid out beforehand), `call(other)` on another input of that shape.
    Compiled before it is returned, where the setting says so."""
    network = arrange(model, setting, x.device).eval()
    ready = layout(x, setting)
    run = compiled(network, setting)

    def call(other: Tensor | None = None) -> Any:
        with torch.no_grad(), autocast(setting, x.device):
            return run(ready if other is None else layout(other, setting))

    with compiling(setting):
        call()
    return call


def synchronizer(device: torch.device) -> Callable[[], None] | None:
    """A function that waits for the device's queue; None where calls return finished."""
    return torch.cuda.synchronize if device.type == "cuda" else None


def seconds_per_call(call: Call, sync: Callable[[], None] | None, seconds: float = 0.5) -> float:
    """The best of at least three calls within about the time given."""
    best, start = float("inf"), time.perf_counter()
    for i in range(1000):
        begin = time.perf_counter()
        call()
        if sync is not None:
            sync()
        best = min(best, time.perf_counter() - begin)
        if i >= 2 and time.perf_counter() - start > seconds:
            break
    return best


@contextlib.contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raises TimeoutError within the block after `seconds`. Main thread only."""

    def expire(*_: object) -> None:
        raise TimeoutError(f"not prepared within the {seconds:.0f} s that were left")

    before = signal.signal(signal.SIGALRM, expire)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@dataclass
class Tried:
    """One setting's trial: seconds a call, seconds to prepare it (compile), or why it did not run."""

    setting: Setting
    seconds: float = float("inf")
    prepare: float = 0.0
    error: str = ""


def best_setting(
    prepare: Callable[[Setting], Call],
    settings: Iterable[Setting],
    device: torch.device,
    seconds: float = 0.5,
    budget: float = 600.0,
    say: Callable[[str], None] = lambda line: None,
) -> tuple[Setting, Call, list[Tried]]:
    """Tries every setting and returns the fastest, its ready call, and all trials.

    prepare: makes the ready call of a setting (`inference_call`, or a training step's maker). A setting that this
    machine cannot run (no compiler, say) is passed over with its reason; none at all running raises RuntimeError.
    budget: seconds after which no further setting is started, and one that is still being prepared is given up
    (`torch.compile` of a whole training step can take longer than the benchmark around it).
    """
    start, tried, best = time.perf_counter(), [], None
    sync = synchronizer(device)
    for setting in settings:
        begin = time.perf_counter()
        if begin - start > budget and best is not None:
            tried.append(Tried(setting, error="not tried: out of time"))
            continue
        try:
            with time_limit(max(1.0, start + budget - begin)):
                call = prepare(setting)
            trial = Tried(setting, prepare=time.perf_counter() - begin)
            trial.seconds = seconds_per_call(call, sync, seconds)
        except Exception as e:
            trial = Tried(setting, error=f"{type(e).__name__}: {str(e).splitlines()[0] if str(e) else ''}"[:160])
        tried.append(trial)
        say(
            f"  {setting.name}: " + (trial.error or f"{trial.seconds * 1e3:.2f} ms (prepared in {trial.prepare:.1f} s)")
        )
        if not trial.error and (best is None or trial.seconds < best[0]):
            best = (trial.seconds, setting, call)
    if best is None:
        raise RuntimeError("no setting of the PyTorch peer runs here: " + "; ".join(t.error for t in tried))
    return best[1], best[2], tried


def fastest_of_each(
    prepare: Callable[[Any], Call],
    settings: Sequence[Any],
    device: torch.device,
    budget: float,
    reference: Any = None,
) -> Iterator[tuple[str, Any, Call, float]]:
    """(`torch eager` or `torch compiled`, its fastest setting, the ready call, seconds a call), as far as `settings`
    have some of the kind; before them `torch reference` with the setting `reference`, where one is given. A kind of
    which no setting runs here is told on stdout and left out. budget: seconds for each kind (`best_setting`)."""
    groups = {} if reference is None else {"torch reference": [reference]}
    groups |= {"torch eager": [s for s in settings if s.compile == "off"]}
    groups |= {"torch compiled": [s for s in settings if s.compile != "off"]}
    for group, members in groups.items():
        if not members:
            continue
        try:
            setting, call, tried = best_setting(prepare, members, device, budget=budget, say=print)
        except RuntimeError as e:
            print(f"{group}: {e}")
            continue
        yield group, setting, call, min(t.seconds for t in tried)
