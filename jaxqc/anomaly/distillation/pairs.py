"""A teacher and its student in use, by the kind of student that a config names."""

from jaxqc.anomaly.distillation.described import Described
from jaxqc.anomaly.distillation.ensemble import Ensembled
from jaxqc.anomaly.distillation.score import Distilled
from jaxqc.anomaly.distillation.segmented import Segmented
from jaxqc.anomaly.distillation.students import STUDENTS

PAIRS: dict[str, type[Distilled] | type[Described] | type[Ensembled] | type[Segmented]] = {
    **dict.fromkeys(STUDENTS, Distilled),
    "pdn": Described,
    "ensemble": Ensembled,
    "denoising": Segmented,
}
"""Those of `STUDENTS` share loss and maps; those of others are their own."""
