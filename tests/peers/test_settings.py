"""A peer's best setting, and the fate of its rows: chosen by time, failures named, pages kept."""

import copy
import time

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the peers need PyTorch (extra: peers)")

from benchmarks.peers.settings import Setting, best_setting, inference_call, inference_settings, train_settings
from benchmarks.peers.torch_minet import ConvBN, MINet
from benchmarks.peers.training import parameter_groups, train_call

torch.set_num_threads(1)  # the networks are small here, and other test processes share the cores


def test_the_fastest_setting_wins_and_failures_are_named():
    pause = {"loop": 0.02, "grouped": 0.002, "sum": None}

    def prepare(setting):
        seconds = pause[setting.mixing]
        if seconds is None:
            raise RuntimeError("no compiler here\nand more")
        return lambda: time.sleep(seconds)

    settings = [Setting("sum"), Setting("loop"), Setting("grouped")]
    best, call, tried = best_setting(prepare, settings, torch.device("cpu"), seconds=0.01)
    assert best == Setting("grouped")
    assert call() is None
    assert [bool(t.error) for t in tried] == [True, False, False]
    assert "no compiler here" in tried[0].error
    assert "\n" not in tried[0].error
    with pytest.raises(RuntimeError, match="no compiler"):
        best_setting(prepare, settings[:1], torch.device("cpu"))


def test_a_setting_that_takes_too_long_to_prepare_is_given_up():
    def prepare(setting):
        time.sleep(20 if setting.compile != "off" else 0)
        return lambda: None

    settings = [Setting(), Setting(compile="default"), Setting("sum")]
    begin = time.perf_counter()
    best, _, tried = best_setting(prepare, settings, torch.device("cpu"), seconds=0.01, budget=1.5)
    assert time.perf_counter() - begin < 10
    assert best == Setting()
    assert "TimeoutError: not prepared within" in tried[1].error
    assert "out of time" in tried[2].error


def test_out_of_time_starts_no_further_setting():
    made = []
    settings = [Setting("loop"), Setting("grouped")]
    best, _, tried = best_setting(
        lambda s: made.append(s) or (lambda: time.sleep(0.001)), settings, torch.device("cpu"), 0.005, budget=0.0
    )
    assert (made, best, tried[1].error) == ([Setting("loop")], Setting("loop"), "not tried: out of time")


def test_settings_cover_what_a_peer_can_do():
    names = [s.name for s in inference_settings()]
    assert len(set(names)) == len(names)
    for word in ("loop", "grouped", "sum", "folded", "channels_last", "freezing", "compile(max-autotune)", "eager"):
        assert any(word in name for name in names), word
    assert not any(s.folded or s.freezing for s in train_settings()), "a training step keeps its batch norm"
    assert all(s.bf16 for s in inference_settings(True) + train_settings(True))
    assert not any(s.compile != "off" for s in inference_settings(compiled=False))


def test_eager_settings_agree():
    torch.manual_seed(0)
    network, x = MINet().eval(), torch.randn(1, 3, 64, 64)
    want = inference_call(network, Setting(), x)()["map"]
    for setting in inference_settings(compiled=False):
        np.testing.assert_allclose(inference_call(network, setting, x)()["map"], want, atol=1e-5, err_msg=setting.name)
    coarse = inference_call(network, Setting("grouped", True, True, bf16=True), x)()["map"].float()
    assert 0 < (coarse - want).abs().max() < 0.05, "bf16 should differ a little, and only a little"


class Tiny(torch.nn.Module):
    """The smallest network that fits the training step: one unit and one output."""

    def __init__(self):
        super().__init__()
        self.unit, self.side = ConvBN(3, 4, 3), torch.nn.Conv2d(4, 1, 1)

    def forward(self, x, aux):
        assert aux, "a training step asks for every output"
        return {"final": self.side(self.unit(x))[:, 0]}


@pytest.mark.parametrize("setting", [Setting(), Setting(channels_last=True), Setting(bf16=True)], ids=lambda s: s.name)
def test_the_training_step_learns(setting):
    torch.manual_seed(0)
    masks = torch.zeros(2, 16, 16, dtype=torch.uint8)
    masks[:, 4:10, 4:12] = 1
    images, network = (40 + 150 * masks)[..., None], Tiny()
    before = copy.deepcopy(network.state_dict())

    def loss(out, mask, label):
        assert (out["final"].dtype, mask.dtype) == (torch.float32, torch.float32)
        assert label.tolist() == [0, -1]
        return torch.nn.functional.binary_cross_entropy_with_logits(out["final"], mask)

    step = train_call(network, setting, loss, (images, masks, torch.tensor([0, -1])), lr=0.5)
    losses = [step().item() for _ in range(30)]
    assert losses[-1] < 0.3 * losses[0]
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items()), "it trains a copy"


def test_weight_decay_is_for_kernels_only():
    kernels, rest = parameter_groups(Tiny(), 5e-4)
    assert (kernels["weight_decay"], rest["weight_decay"]) == (5e-4, 0)
    assert [p.ndim for p in kernels["params"]] == [4, 4]
    assert [p.ndim for p in rest["params"]] == [1, 1, 1]
