"""Acceptance sampling by attributes: the single sampling plans of ISO 2859-1:1999 and their operating characteristics.

The tables' numbers are facts of the standard (Tables 1, 2-A, 2-B and 2-C; identical in IS 2500-1:2000 and
GB/T 2828.1-2012). Within a master table the acceptance number depends only on how far along a diagonal a cell lies:
one code letter more and one AQL less give the same number. So each table is kept as that one sequence; the tests hold
the tables themselves, cell by cell.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float

from jaxqc.errors import UserError, suggest

Severity = Literal["normal", "tightened", "reduced"]
Level = Literal["S-1", "S-2", "S-3", "S-4", "I", "II", "III"]
LEVELS: tuple[Level, ...] = get_args(Level)

AQL = 1.0
"""Acceptance quality limit where none is asked for, percent nonconforming."""
LEVEL: Level = "II"
"""General inspection level, the usual one."""

LETTERS = "ABCDEFGHJKLMNPQRS"
"""Sample size code letters; S appears in Table 2-B alone."""

AQLS = (.010, .015, .025, .040, .065, .10, .15, .25, .40, .65, 1.0, 1.5, 2.5, 4.0, 6.5, 10,
        15, 25, 40, 65, 100, 150, 250, 400, 650, 1000)  # fmt: skip
"""Preferred values: up to 10 percent nonconforming or nonconformities per 100 items, above that only the latter."""

LOT_SIZES = (8, 15, 25, 50, 90, 150, 280, 500, 1200, 3200, 10_000, 35_000, 150_000, 500_000)
"""Upper ends of the lot size ranges of Table 1; the last range is open."""

CODES: dict[Level, str] = {
    "S-1": "AAAABBBBCCCCDDD",
    "S-2": "AAABBBCCCDDDEEE",
    "S-3": "AABBCCDDEEFFGGH",
    "S-4": "AABCCDEEFGGHJJK",
    "I": "AABCCDEFGHJKLMN",
    "II": "ABCDEFGHJKLMNPQ",
    "III": "BCDEFGHJKLMNPQR",
}
"""Table 1: the code letter of each lot size range."""


@dataclass(frozen=True)
class Table:
    """A master table. Cells are numbered by k = index of the letter + index of the AQL.

    `sizes`: samples by letter. `zero`: k of acceptance number 0; `gap` cells without a plan follow, the first pointing
    up where `up`, the others down. `accept`: the numbers from k = zero + gap + 1 on; those after the `long`-th stand
    only at letters A to E.
    """

    name: str
    sizes: tuple[int, ...]
    zero: int
    gap: int
    up: bool
    accept: tuple[int, ...]
    long: int


_SIZES = (2, 3, 5, 8, 13, 20, 32, 50, 80, 125, 200, 315, 500, 800, 1250, 2000)

TABLES: dict[Severity, Table] = {
    "normal": Table("2-A", _SIZES, 14, 2, True, (1, 2, 3, 5, 7, 10, 14, 21, 30, 44), 8),
    "tightened": Table("2-B", (*_SIZES, 3150), 15, 2, False, (1, 2, 3, 5, 8, 12, 18, 27, 41), 7),
    "reduced": Table("2-C", (2, 2, *_SIZES[:14]), 14, 3, True, (1, 2, 3, 5, 6, 8, 10, 14, 21), 7),
}

_REDUCED_AB = (1, 2, 3, 5, 7, 10, 14, 21, 30)
"""Table 2-C, letters A and B from AQL 25 on: off the diagonals, since the sample cannot become smaller than 2."""


@dataclass(frozen=True)
class Plan:
    """A single sampling plan: inspect `size` items, accept the lot with `accept` nonconforming ones or fewer."""

    letter: str
    """Code letter of the plan itself; where an arrow led to it, not that of the lot size."""
    size: int
    accept: int
    reject: int
    aql: float
    severity: Severity
    lot_size: int | None = None
    """Size of the lot that the plan was asked for; None for a plan taken from the table by its letter."""

    @property
    def all_items(self) -> bool:
        """The sample is the whole lot: 100 percent inspection."""
        return self.lot_size is not None and self.size >= self.lot_size

    def accepts(self, nonconforming: int) -> bool:
        """The decision on a lot whose sample holds that many nonconforming items (or nonconformities)."""
        return nonconforming <= self.accept


def code_letter(lot_size: int, level: Level = "II") -> str:
    """The sample size code letter (Table 1).

    Raises:
      UserError: a lot of fewer than 2 items, or an unknown level.
    """
    if level not in CODES:
        raise UserError(f"inspection level {level!r}{suggest(str(level), LEVELS)}")
    if lot_size < 2:
        raise UserError(f"lot size {lot_size}: the sampling tables begin at 2 items; inspect all of it")
    return CODES[level][int(np.searchsorted(LOT_SIZES, lot_size))]


def plan_for(lot_size: int, aql: float, level: Level = "II", severity: Severity = "normal") -> Plan:
    """The plan for a lot; where the sample would exceed the lot, the lot itself is the sample.

    Raises:
      UserError: as `code_letter` and `plan_of`.
    """
    plan = plan_of(code_letter(lot_size, level), aql, severity)
    return Plan(plan.letter, min(plan.size, lot_size), plan.accept, plan.reject, aql, severity, lot_size)


def plan_of(letter: str, aql: float, severity: Severity = "normal") -> Plan:
    """The plan for a code letter and an AQL, arrows followed (Tables 2-A, 2-B, 2-C).

    Raises:
      UserError: an AQL, letter or severity that the standard does not have; tightened inspection at letter A and AQL
        10, where published copies of Table 2-B disagree (2 items, accept 0; or 8 items, accept 1).
    """
    if severity not in TABLES:
        raise UserError(f"inspection {severity!r}{suggest(str(severity), TABLES)}")
    if letter not in LETTERS[:16]:
        raise UserError(f"code letter {letter!r}; the standard has A to R without I and O")
    column = _column(aql)
    row = LETTERS.index(letter)
    if severity == "tightened" and letter == "A" and AQLS[column] == 10:
        raise UserError(
            "tightened inspection, code letter A, AQL 10: published tables disagree; use AQL 6.5 or level III"
        )
    table = TABLES[severity]
    found = _follow(table, row, column)
    accept = _accept(table, found, column)
    assert accept is not None
    return Plan(LETTERS[found], table.sizes[found], accept, accept + 1, AQLS[column], severity)


def one_step_tighter(plan: Plan) -> Plan | None:
    """The normal plan of the same letter at the next lower AQL, by which the switching score is kept; None at the
    lowest AQL."""
    column = _column(plan.aql)
    return plan_of(plan.letter, AQLS[column - 1], "normal") if column else None


def acceptance(
    plan: Plan, quality: float | Float[np.ndarray, "*q"], model: Literal["auto", "binomial", "poisson"] = "auto"
) -> np.floating | Float[np.ndarray, "*q"]:
    """Operating characteristic: the probability that a lot from a process of this quality is accepted.

    quality: share nonconforming in [0, 1] (binomial), or nonconformities an item (Poisson; AQL per 100 items / 100).
    model: `auto` is Poisson for AQLs above 10, which count nonconformities, and binomial else.
    """
    from scipy import special

    quality = np.asarray(quality, np.float64)
    if _poisson(plan, model):
        return special.pdtr(plan.accept, plan.size * quality)
    return np.where(plan.accept >= plan.size, 1.0, special.bdtr(min(plan.accept, plan.size), plan.size, quality))


def acceptance_of_lot(plan: Plan, lot_size: int, nonconforming: int) -> float:
    """The probability that a lot with exactly so many nonconforming items is accepted (hypergeometric).

    Raises:
      UserError: more nonconforming items than items, or a sample larger than the lot.
    """
    from scipy import stats

    if not 0 <= nonconforming <= lot_size or plan.size > lot_size:
        raise UserError(f"lot of {lot_size} with {nonconforming} nonconforming and a sample of {plan.size}: impossible")
    return float(stats.hypergeom.cdf(plan.accept, lot_size, nonconforming, plan.size))


def quality_at(plan: Plan, probability: float, model: Literal["auto", "binomial", "poisson"] = "auto") -> float:
    """The quality that is accepted with this probability: 0.95 gives the producer's, 0.10 the consumer's risk quality.

    The inverse of `acceptance`, by the quantiles of the beta and gamma distributions.
    """
    from scipy import special

    if _poisson(plan, model):
        return float(special.gammaincinv(plan.accept + 1, 1 - probability) / plan.size)
    if plan.accept >= plan.size:
        return 1.0
    return float(special.betaincinv(plan.accept + 1, plan.size - plan.accept, 1 - probability))


def _poisson(plan: Plan, model: str) -> bool:
    return model == "poisson" or (model == "auto" and plan.aql > 10)


def _column(aql: float) -> int:
    for i, value in enumerate(AQLS):
        if abs(aql - value) <= 1e-9 * value:
            return i
    raise UserError(f"AQL {aql:g} is none of the standard's: {', '.join(f'{a:g}' for a in AQLS)}")


def _accept(table: Table, row: int, column: int) -> int | None:
    """The acceptance number printed in a cell; None where it holds an arrow or nothing."""
    if table.name == "2-C" and row < 2 and column >= AQLS.index(25):
        return _REDUCED_AB[column - AQLS.index(25)]
    if LETTERS[row] == "S" and AQLS[column] != 0.025:
        return None
    k = row + column - table.zero
    if k == 0:
        return 0
    i = k - table.gap - 1
    within = 0 <= i < (len(table.accept) if LETTERS[row] <= "E" else table.long)
    return table.accept[i] if within else None


def _follow(table: Table, row: int, column: int) -> int:
    """The row of the plan that a cell holds or its arrow leads to; an arrow that leads nowhere turns round."""
    k = row + column - table.zero
    upwards = k > table.gap or (k == 1 and table.up)
    above, below = range(row, -1, -1), range(row, len(table.sizes))
    for rows in (above, below) if upwards else (below, above):
        for r in rows:
            if _accept(table, r, column) is not None:
                return r
    raise AssertionError("every column holds a plan")
