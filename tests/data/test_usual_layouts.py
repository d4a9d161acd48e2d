"""The layouts in which people keep images and masks: one table, each read as it lies, told and never guessed."""

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxqc.cli import main
from jaxqc.data.check import check_path
from jaxqc.data.load import load_sample
from jaxqc.data.open import Keys, open_data
from jaxqc.errors import UserError

SIZE = 24
_rng = np.random.default_rng(5)
Make = Callable[[Path], object]


def image(file: Path, size: int = SIZE) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(_rng.integers(0, 256, (size, size)).astype(np.uint8)).save(file)


def mask(file: Path, left: int | None = 2, size: int = SIZE, value: int = 255) -> None:
    """A square of 16 of 24 x 24 pixels; `left` None = empty."""
    file.parent.mkdir(parents=True, exist_ok=True)
    pixels, k = np.zeros((size, size), np.uint8), size // SIZE
    if left is not None:
        pixels[4 * k : 8 * k, left * k : (left + 4) * k] = value
    Image.fromarray(pixels).save(file)


def two_folders(images: str, masks: str, ending: str = ".png", other: str = ".png", name: str = "{}") -> Make:
    def make(root: Path) -> None:
        for i, left in enumerate((2, None, 6)):
            image(root / images / f"{i}{ending}")
            mask(root / masks / f"{name.format(i)}{other}", left)

    return make


def in_splits(inner: bool) -> Make:
    def make(root: Path) -> None:
        for split in ("train", "val", "test"):
            for i, left in enumerate((2, None)):
                places = (f"images/{split}", f"masks/{split}") if inner else (f"{split}/images", f"{split}/labels")
                image(root / places[0] / f"{i}.png")
                mask(root / places[1] / f"{i}.png", left)

    return make


def beside(name: str, ending: str = ".png") -> Make:
    def make(root: Path) -> None:
        for i, left in enumerate((2, None)):
            image(root / f"{i}{ending}")
            mask(root / name.format(i), left)

    return make


def one_a_defect(name: str) -> Make:
    def make(root: Path) -> None:
        for i in (10, 11):
            image(root / f"images/{i}.png")
            for n, left in enumerate((2, 12)):
                mask(root / "masks" / name.format(i, n), left)

    return make


def one_a_class(root: Path) -> None:
    for i in range(3):
        image(root / f"images/{i}.jpg")
        for kind, left in (("pit", 2 if i else None), ("scratch", 12 if i == 2 else None)):
            mask(root / f"masks/{kind}/{i}.png", left)


def kinds(root: Path) -> None:
    for kind in ("good", "pit", "scratch"):
        for i in range(2):
            image(root / f"images/{kind}/{i}.png")
            if kind != "good":
                mask(root / f"masks/{kind}/{i}.png")


def class_folders(*names: str) -> Make:
    return lambda root: [image(root / name / f"{i}.png") for name in names for i in range(2)]


def mvtec(root: Path) -> None:
    for i in range(2):
        image(root / f"train/good/{i}.png")
        image(root / f"test/hole/{i}.png")
        mask(root / f"ground_truth/hole/{i}_mask.png")


def visa(root: Path) -> None:
    for i in range(2):
        image(root / f"Data/Images/Normal/{i}.JPG")
        image(root / f"Data/Images/Anomaly/{i}.JPG")
        mask(root / f"Data/Masks/Anomaly/{i}.png")
    rows = [f"candle,train,normal,candle/Data/Images/Normal/{i}.JPG," for i in range(2)]
    rows += [
        f"candle,test,anomaly,candle/Data/Images/Anomaly/{i}.JPG,candle/Data/Masks/Anomaly/{i}.png" for i in (0, 1)
    ]
    (root.parent / "split_csv").mkdir()
    (root.parent / "split_csv/1cls.csv").write_text("\n".join(["object,split,label,image,mask", *rows]))


def other_values(value: int, size: int = SIZE) -> Make:
    def make(root: Path) -> None:
        for i, left in enumerate((2, None)):
            image(root / f"images/{i}.png")
            mask(root / f"masks/{i}.png", left, size, value)

    return make


def soft(root: Path) -> None:
    for i in range(2):
        image(root / f"images/{i}.png")
        mask(root / f"masks/{i}.png", 2 if i else None)
    values = np.asarray(Image.open(root / "masks/1.png")).copy()
    values[3, 2:6], values[4, 2:6] = 90, 200
    Image.fromarray(values).save(root / "masks/1.png")


def only_defects_have_masks(root: Path) -> None:
    for i in range(3):
        image(root / f"images/{i}.png")
    mask(root / "masks/0.png")


GOOD = {"good": 1, "defect": 2}
EVEN = {"good": 1, "defect": 1}
TABLE: dict[str, tuple[Make, Keys, dict[str, int]]] = {
    "images, masks": (two_folders("images", "masks"), Keys(), GOOD),
    "img, gt": (two_folders("img", "gt"), Keys(), GOOD),
    "image, label": (two_folders("image", "label"), Keys(), GOOD),
    "Images, Ground_Truth": (two_folders("Images", "Ground_Truth", ".bmp"), Keys(), GOOD),
    "JPEGImages, SegMasks": (two_folders("JPEGImages", "SegMasks", ".jpg"), Keys(), GOOD),
    "masks of another ending": (two_folders("images", "masks", ".jpg", ".bmp"), Keys(), GOOD),
    "endings in capitals": (two_folders("images", "masks", ".JPG", ".PNG"), Keys(), GOOD),
    "masks/NAME_mask": (two_folders("images", "masks", name="{}_mask"), Keys(), GOOD),
    "masks/NAME-GT": (two_folders("images", "masks", name="{}-GT"), Keys(), GOOD),
    "images here, masks/": (two_folders(".", "masks"), Keys(), GOOD),
    "train/images, train/labels": (in_splits(False), Keys(), {"good": 3, "defect": 3}),
    "images/train, masks/train": (in_splits(True), Keys(), {"good": 3, "defect": 3}),
    "NAME_mask beside NAME": (beside("{}_mask.png"), Keys(), EVEN),
    "NAME_GT beside NAME.jpg": (beside("{}_GT.png", ".jpg"), Keys(), EVEN),
    "NAME.png beside NAME.jpg": (beside("{}.png", ".jpg"), Keys(), EVEN),
    "masks/NAME_0, one a defect": (one_a_defect("{}_{}.png"), Keys(), {"defect": 2}),
    "masks/NAME/, one a defect": (one_a_defect("{}/{}.png"), Keys(), {"defect": 2}),
    "masks/KIND, one a class": (one_a_class, Keys(), {"good": 1, "pit": 1, "pit+scratch": 1}),
    "images/KIND, masks/KIND": (kinds, Keys(), {"good": 2, "pit": 2, "scratch": 2}),
    "good, bad": (class_folders("good", "bad"), Keys(), {"good": 2, "bad": 2}),
    "OK, NG": (class_folders("OK", "NG"), Keys(), {"good": 2, "NG": 2}),
    "A, B and the word of a person": (class_folders("A", "B"), Keys(normal="B"), {"good": 2, "A": 2}),
    "train/A, test/B": (class_folders("train/A", "test/A", "test/B"), Keys(normal="A"), {"good": 4, "B": 2}),
    "mvtec": (mvtec, Keys(), {"good": 2, "hole": 2}),
    "visa": (visa, Keys(), {"good": 2, "anomaly": 2}),
    "masks of 0 and 1": (other_values(1), Keys(), EVEN),
    "masks of 0 and 2": (other_values(2), Keys(foreground=(2,)), EVEN),
    "soft masks": (soft, Keys(), EVEN),
    "masks twice as large": (other_values(255, 2 * SIZE), Keys(), EVEN),
    "masks for defects alone": (only_defects_have_masks, Keys(unmasked="good"), {"good": 2, "defect": 1}),
}
WITHOUT = ("good, bad", "OK, NG", "A, B and the word of a person", "train/A, test/B")
WARNED = {"masks twice as large": {"scaled-mask"}} | {name: {"no-mask"} for name in WITHOUT}


@pytest.mark.parametrize("name", TABLE)
def test_each_usual_layout(name: str, tmp_path: Path) -> None:
    make, keys, counts = TABLE[name]
    root = tmp_path / "candle"
    make(root)
    dataset = open_data(root, keys=keys, masks=name not in WITHOUT)
    assert Counter(dataset.classes[s.label] for s in dataset.samples) == counts
    masked = [s for s in dataset.samples if s.mask is not None]
    for sample in masked:
        pixels = load_sample(sample)[1]
        several = len(sample.more_masks) and dataset.classes[sample.label] not in ("pit", "good")
        assert pixels.sum() == (0 if sample.normal else 16 * (1 + bool(several)))
    report = check_path(root, keys=keys)
    assert report.ok
    assert {p.kind for p in report.problems} == WARNED.get(name, set())
    splits = {s.split for s in dataset.samples}
    assert splits == ({"train", "val", "test"} if name.startswith(("train/im", "images/tr")) else splits)


def test_the_check_tells_how_it_was_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    only_defects_have_masks(tmp_path / "set")
    assert main(["data", "check", str(tmp_path / "set")]) == 1
    said = capsys.readouterr().out
    assert "read as images/ with masks/" in said
    assert "--unmasked good" in re.sub(r"[\s│]+", " ", said)  # a table's cells wrap
    assert main(["data", "check", str(tmp_path / "set"), "--unmasked", "good"]) == 0
    said = capsys.readouterr().out
    assert "read as 2 images without a mask are good, as --unmasked says" in said
    assert "0 are empty and good, 1 show a defect" in said
    assert main(["data", "check", str(tmp_path / "set"), "--unmasked", "bad"]) == 2
    assert "--unmasked: 'bad' says nothing of images without a mask; give good" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            two_folders("parts", "drawn"),
            r"drawn/ and parts/ have files of equal names: if .*, rename them images and masks",
        ),
        (
            class_folders("A", "B"),
            r"holds A/ with 2 images, B/ with 2 images\).*; if each folder is a class, none of A, B is",
        ),
        (class_folders("A"), r"images alone in A/: fit, predict and inspect take .*A"),
        (lambda root: (root / "x").mkdir(parents=True), r"holds x/ with 0 images\); expected index\.csv"),
    ],
)
def test_the_error_says_what_was_seen_and_the_way_out(make: Make, message: str, tmp_path: Path) -> None:
    make(tmp_path / "set")
    with pytest.raises(UserError, match=message):
        open_data(tmp_path / "set")


def test_words_that_do_not_fit(tmp_path: Path) -> None:
    other_values(2)(tmp_path / "set")
    with pytest.raises(
        UserError, match=r"normal: no class 'dbefect' \(did you mean 'defect'\?\); the classes are good, defect"
    ):
        open_data(tmp_path / "set", keys=Keys(normal="dbefect"))
    with pytest.raises(UserError, match=r"values 0, 2\).*the values of defects by --foreground"):
        load_sample(next(s for s in open_data(tmp_path / "set").samples if not s.normal))
    class_folders("A", "B")(tmp_path / "kinds")
    with pytest.raises(UserError, match=r"normal: no class 'C' .*; the classes are good, A, B"):
        open_data(tmp_path / "kinds", keys=Keys(normal="C"))


def test_masks_without_an_image_are_named(tmp_path: Path) -> None:
    two_folders("images", "masks")(tmp_path / "set")
    mask(tmp_path / "set/masks/9.png")
    assert [p.message.partition("masks/")[2] for p in check_path(tmp_path / "set").problems] == [
        "9.png: a mask without an image in 'images/'"
    ]


def test_copies_of_images_are_no_masks(tmp_path: Path) -> None:
    for i in range(3):
        image(tmp_path / f"{i}.jpg")
        image(tmp_path / f"{i}.png")
    with pytest.raises(UserError, match="images without masks: good for fit"):
        open_data(tmp_path)
    assert len(open_data(tmp_path, masks=False)) == 6
