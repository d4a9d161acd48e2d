"""Names of measures in words for people, with the field's own short name where it has one."""

IMAGES = {
    "auroc": "AUROC of image scores",
    "ap": "average precision of image scores",
    "f1_max": "best F1 of images at any threshold",
    "tpr": "share of defective images called (TPR)",
    "fpr": "share of good images called (FPR)",
    "precision": "share of called images that are defective (precision)",
    "f1": "F1 of images at the threshold",
}
PIXELS = {
    "auroc": "AUROC of the map's pixels",
    "ap": "average precision of the map's pixels",
    "f1_max": "best F1 of pixels at any threshold",
    "tpr": "share of defective pixels marked (TPR)",
    "fpr": "share of good pixels marked (FPR)",
    "precision": "share of marked pixels that are defective (precision)",
    "f1": "F1 of pixels at the threshold",
    "iou": "overlap of marked and defective pixels (IoU)",
    "accuracy": "share of pixels of the right class (accuracy)",
}
WORDS = {
    **{f"image_{name}": words for name, words in IMAGES.items()},
    **{f"pixel_{name}": words for name, words in PIXELS.items()},
    "au_pro": "overlap with each defect, over false-alarm rates up to 30 % (AU-PRO)",
    "s_measure": "likeness in structure of map and mask (S-measure)",
    "e_adaptive": "alignment of map and mask at an adaptive threshold (E-measure)",
    "e_mean": "mean alignment over thresholds (E-measure)",
    "e_max": "best alignment at any threshold (E-measure)",
    "weighted_f": "weighted F-measure of the map",
    "weighted_f_03": "weighted F-measure of the map, precision before recall",
    "f_adaptive": "F-measure at an adaptive threshold",
    "f_mean": "mean F-measure over thresholds",
    "f_max": "best F-measure at any threshold",
    "mae": "mean absolute error of the map (MAE)",
    "iou": "overlap of marked and defective pixels (IoU)",
    "false_alarm_images": "share of good images marked anywhere",
    "false_alarm_area": "share of good images' pixels marked",
    "miou": "mean overlap over classes (mean IoU)",
}
"""Words for the keys that `anomaly`, `saliency` and `segmentation` compute, but for bounds and thresholds."""


def in_words(name: str) -> str:
    """The measure's name for people; of one that is not known its own, without underscores.

    Examples:
      >>> in_words("mae"), in_words("my_measure")
      ('mean absolute error of the map (MAE)', 'my measure')
    """
    return WORDS.get(name, name.replace("_", " "))
