"""The family's table as presets, and every refusal of values that do not go together."""

import dataclasses
import re

import pytest

from jaxqc.config import AugmentConfig, PhotometricConfig, TrainConfig
from jaxqc.errors import UserError
from jaxqc.fields import check_unused, from_dict, to_dict, validate
from jaxqc.overrides import override
from jaxqc.semi.recipe import (
    PRESETS,
    CutMixConfig,
    HistoryConfig,
    SemiConfig,
    SemiDataConfig,
    SemiTrainConfig,
    TiersConfig,
    preset,
)

TABLE = {  # students, labels, views, perturbation, bounds, weights, queue, drawn
    "supervised": (1, "none", 0, "none", None, None, 0, None),
    "supervised_ema": (1, "ema", 0, "none", None, None, 0, None),
    "fixmatch": (1, "ema", 1, "none", (0.95,), (1.0,), 0, None),
    "unimatch_v2": (1, "ema", 2, "complementary", (0.95,), (1.0,), 0, None),
    "tiers_only": (1, "ema", 2, "complementary", (0.85, 0.9, 0.95), (0.1, 0.2, 0.7), 0, None),
    "history_only": (1, "ema", 2, "complementary", (0.95,), (1.0,), 8, 3),
    "mvpmatch": (1, "ema", 2, "complementary", (0.85, 0.9, 0.95), (0.1, 0.2, 0.7), 8, 3),
    "unimatch_v1": (1, "self", 2, "weak", (0.95,), (1.0,), 0, None),
    "prevmatch": (1, "self", 2, "weak", (0.95,), (1.0,), 8, 3),
    "ps_mt": (1, "ema", 1, "none", (0.6,), (1.0,), 0, None),
    "ps_mt_released": (1, "ema", 1, "none", (0.6,), (1.0,), 0, None),
    "u2pl": (1, "ema", 1, "none", (0.0,), (1.0,), 0, None),
    "pixcon": (1, "ema", 2, "complementary", (0.95,), (1.0,), 0, None),
    "allspark": (1, "self", 0, "none", (0.0,), (1.0,), 0, None),
    "semivl": (1, "self", 2, "weak", (0.95,), (1.0,), 0, None),
    "cps": (2, "other", 1, "none", (0.0,), (1.0,), 0, None),
}


def test_presets_are_the_table() -> None:
    assert set(PRESETS) == set(TABLE)
    for name, (students, labels, views, perturbation, bounds, weights, length, most) in TABLE.items():
        config = preset(name)
        assert (config.students, config.labels, config.views, config.perturbation) == (
            students,
            labels,
            views,
            perturbation,
        )
        assert bounds is None or (config.tiers.bounds, config.tiers.weights) == (bounds, weights)
        assert config.history.length == length
        assert most is None or config.history.most == most
        assert validate(config, name) is config
        assert from_dict(to_dict(config), SemiConfig) == config


def test_a_decoder_of_phrases_has_no_other_head() -> None:
    for changes in ({"head": "segformer"}, {"output_stride": 16}, {"multi_grid": True}):
        config = SemiTrainConfig(semi=preset("semivl"), **changes)
        with pytest.raises(UserError, match=r"language\.decoder brings a head and an encoder of its own"):
            config.check("here")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--augment.noise", "0.1"], "augment.noise=0.1 would go unused; views.scale_min, .* change the images"),
        (["--augment.no-flip-horizontal"], "augment.flip_horizontal=False would go unused"),
        (["--data.protocol", "seed"], "data.protocol='seed' would go unused; the lists in views.splits"),
        (["--data.skip-bad"], "data.skip_bad=True would go unused"),
        (["--data.normal", "ok"], "data.normal='ok' would go unused; the lists in views.splits"),
        (["--data.unmasked", "good"], "data.unmasked='good' would go unused"),
    ],
)
def test_fields_that_would_go_unused_are_refused(flags: list[str], message: str) -> None:
    with pytest.raises(UserError, match=f"command line: {message}"):
        override(SemiTrainConfig(), flags)
    assert override(TrainConfig(), flags) != TrainConfig()  # where they are used


def test_a_decoder_of_phrases_has_no_hidden_channels() -> None:
    config = SemiTrainConfig(semi=PRESETS["semivl"], hidden=64)
    with pytest.raises(UserError, match="hidden=64 would go unused; a decoder of phrases"):
        check_unused(config)
    assert check_unused(dataclasses.replace(config, semi=PRESETS["mvpmatch"]))


def test_a_stored_recipe_loads_whatever_it_ignored() -> None:
    """And by the names of its time: the long side was called `fast`."""
    stored = to_dict(SemiTrainConfig(augment=AugmentConfig(noise=0.1), long_side=378))
    stored["fast"] = stored.pop("long_side")
    config = from_dict(stored, SemiTrainConfig)
    assert (config.long_side, config.augment.noise) == (378, 0.1)
    with pytest.raises(UserError, match="noise=0"):
        check_unused(config)


@pytest.mark.parametrize(
    ("tiers", "message"),
    [
        (TiersConfig((0.8, 0.9), (1.0,)), "2 bounds and 1 weights; give one weight a bound"),
        (TiersConfig((), ()), "0 bounds"),
        (TiersConfig((0.9, 0.8), (0.4, 0.6)), "must rise within"),
        (TiersConfig((0.9, 1.0), (0.4, 0.6)), "must rise within"),
        (TiersConfig((0.8, 0.9), (0.6, 0.4)), "more confidence weighs more"),
        (TiersConfig((0.8, 0.9), (0.5, 0.5)), "more confidence weighs more"),
        (TiersConfig((0.8, 0.9), (0.0, 1.0)), "rise from above 0"),
        (TiersConfig((0.8, 0.9), (0.4, 0.7)), "have the sum 1.1"),
    ],
)
def test_tiers_are_checked(tiers: TiersConfig, message: str) -> None:
    with pytest.raises(UserError, match=f"unimatch_v2: tiers: .*{re.escape(message)}"):
        preset("unimatch_v2", tiers=tiers)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("mvpmach", {}, "did you mean 'mvpmatch'"),
        ("mvpmatch", {"history": HistoryConfig(length=2, most=3)}, "most=3 must be 1 to length=2"),
        ("mvpmatch", {"history": HistoryConfig(length=2, most=0)}, "most=0 must be 1"),
        ("mvpmatch", {"history": HistoryConfig(length=8, threshold=1.0)}, "must be below 1"),
        ("mvpmatch", {"views": 1}, "'complementary' needs views=2, not 1"),
        ("mvpmatch", {"views": 0, "perturbation": "none"}, "views=0 learns from labelled images only"),
        ("unimatch_v1", {"views": 0, "perturbation": "none"}, "views=0 learns from labelled images only"),
        ("supervised", {"views": 1}, "strong views need labels"),
        ("mvpmatch", {"students": 2}, "labels='ema' needs 1"),
        ("mvpmatch", {"labels": "other"}, "labels='other' needs 2"),
        ("cps", {"history": HistoryConfig(length=8)}, "a queue needs one student"),
        ("mvpmatch", {"ema": 1.0}, "must be between 0 and 1"),
        ("mvpmatch", {"ohem_threshold": 1.5}, "is a probability"),
        ("supervised", {"history": HistoryConfig(length=4)}, "learns from labelled images only"),
        ("mvpmatch", {"photometric": PhotometricConfig(hue=0.6)}, "half a turn is the most"),
        ("mvpmatch", {"photometric": PhotometricConfig(blur=2)}, "blur=2 is a probability"),
        ("mvpmatch", {"photometric": PhotometricConfig(blur_min=3)}, "give 0 < min <= max"),
        ("mvpmatch", {"cutmix": CutMixConfig(area_min=0.5)}, "give 0 < min <= max < 1"),
        ("mvpmatch", {"cutmix": CutMixConfig(aspect=0.0)}, "above 0 and at most 1"),
        ("mvpmatch", {"cutmix": CutMixConfig(probability=1.5)}, "at most 1"),
    ],
)
def test_presets_refuse_what_does_not_go_together(name: str, changes: dict, message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        preset(name, **changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scale_min": 0.0}, "scale_min=0.0 must be above 0"),
        ({"scale_min": 3.0}, "is above scale_max"),
        ({"flip": 1.5}, "is a probability"),
    ],
)
def test_data_settings_are_checked(changes: dict, message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        validate(dataclasses.replace(SemiDataConfig(), **changes))
