"""Samples that are normal (free of defects by the data set's own word), defective, or neither.

A sample is normal where its reader says so (`Sample.normal`) or where its class has one of the usual names (`good`,
`Free`, ...), which also survives record files. It is defective where it has another class. A sample without a class
and without that word is neither: nobody has looked at it.
"""

import dataclasses
import re
import unicodedata

from jaxqc.data.dataset import Dataset, Sample

NORMAL = "good"
"""The class of normal samples in the readers of anomaly-detection sets, MVTec AD's own name."""
NAMES = frozenset(
    {
        *("good", "ok", "okay", "free", "normal", "normals", "clean", "pass", "passed", "none", "flawless", "intact"),
        *("nodefect", "nodefects", "noanomaly", "noanomalies", "nofault", "nofaults", "nondefective", "undamaged"),
        *("goodimages", "goodsamples", "goodparts", "okimages", "oksamples", "okparts", "normalimages"),
        *("defectfree", "faultfree", "anomalyfree", "flawfree", "defectless", "conforming", "acceptable", "accepted"),
        *(
            "正常",
            "正常品",
            "正常样本",
            "正常樣本",
            "正常件",
            "合格",
            "合格品",
            "良品",
            "良好",
            "好品",
            "正品",
            "优良",
            "優良",
            "良",
            "良件",
            "好",
            "好件",
            "正样本",
            "正樣本",
            "ok图",
            "ok圖",
            "ok件",
            "ok品",
        ),
        *(
            "无缺陷",
            "無缺陷",
            "无瑕疵",
            "無瑕疵",
            "无异常",
            "無異常",
            "无不良",
            "無不良",
            "欠陥なし",
            "異常なし",
            "정상",
            "양품",
        ),
    }
)
"""Class names that mean normal, in small letters without spaces, `_` and `-`."""
SHOWN = "good, ok, normal, pass, clean, none, defect_free, 正常, 合格, 良品, 无缺陷, ..."
"""Some of them, for messages."""


def means_normal(name: str) -> bool:
    """True where a class or folder name says that nothing is wrong (`good`, `Free`, `defect-free`, `正常`, ...).

    Capitals, spaces, `_`, `-` and full-width letters do not matter.

    Examples:
      >>> means_normal("defect-free"), means_normal("scratch"), means_normal("正常")
      (True, False, True)
    """
    return re.sub(r"[\s_-]+", "", unicodedata.normalize("NFKC", name).casefold()) in NAMES


def is_normal(sample: Sample, dataset: Dataset) -> bool:
    """True where the sample is known to be free of defects."""
    return sample.normal or (sample.label >= 0 and means_normal(dataset.classes[sample.label]))


def is_defective(sample: Sample, dataset: Dataset) -> bool:
    """True where the sample is known to have a defect."""
    return sample.label >= 0 and not is_normal(sample, dataset)


def normals(dataset: Dataset) -> Dataset:
    """The normal samples, in index order (possibly none).

    Examples:
      >>> from pathlib import Path
      >>> samples = (Sample("a", Path("a.png"), label=0), Sample("b", Path("b.png"), label=1))
      >>> [sample.id for sample in normals(Dataset("tiny", ("good", "hole"), samples)).samples]
      ['a']
    """
    return dataclasses.replace(dataset, samples=tuple(s for s in dataset.samples if is_normal(s, dataset)))


def defects(dataset: Dataset) -> Dataset:
    """The defective samples, in index order (possibly none).

    Examples:
      >>> from pathlib import Path
      >>> samples = (Sample("a", Path("a.png"), label=0), Sample("b", Path("b.png"), label=1))
      >>> [sample.id for sample in defects(Dataset("tiny", ("good", "hole"), samples)).samples]
      ['b']
    """
    return dataclasses.replace(dataset, samples=tuple(s for s in dataset.samples if is_defective(s, dataset)))


def normal_class(dataset: Dataset) -> int:
    """The label of the normal class, -1 where the data set has none."""
    return next((i for i, name in enumerate(dataset.classes) if means_normal(name)), -1)
