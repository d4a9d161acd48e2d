"""Geometry of the report's charts: control charts of a supplier, operating characteristics of sampling plans.

Points and texts only, in units of a `WIDE` x `HIGH` drawing; the template makes SVG of them, the style gives colours.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxqc.inspection.acceptance.sampling import Plan, acceptance, quality_at
from jaxqc.inspection.acceptance.suppliers import Chart
from jaxqc.inspection.report.contents import LotView

WIDE, HIGH = 400.0, 230.0
LEFT, RIGHT, TOP, BOTTOM = 46.0, 44.0, 14.0, 42.0
MOST_POINTS = 60
"""Lots that a control chart shows, the last ones; its centre and limits are of all."""


@dataclass(frozen=True)
class Tick:
    """A mark of an axis: where, and its text."""

    at: float
    text: str


@dataclass(frozen=True)
class Point:
    """A lot in a control chart."""

    x: float
    y: float
    lot: LotView
    value: float
    outside: bool
    above: bool
    """The upper limit; else, where it is outside, it is below the lower one."""


@dataclass(frozen=True)
class ControlChart:
    """A control chart, ready to be drawn. The paths are SVG's."""

    points: list[Point]
    line: str
    """"" = the lots' order is not known."""
    low: str
    high: str
    band: str
    centre: float
    """y of the centre line; `value` is what it stands for."""
    value: float
    ends: tuple[float, float]
    """y of the limits at the last lot."""
    x: list[Tick]
    y: list[Tick]
    skipped: int
    """Earlier lots that are not shown."""

    @property
    def above(self) -> list[LotView]:
        return [point.lot for point in self.points if point.above]

    @property
    def below(self) -> list[LotView]:
        return [point.lot for point in self.points if point.outside and not point.above]


@dataclass(frozen=True)
class Curve:
    """A plan's operating characteristic."""

    plan: Plan
    path: str
    producer: float
    consumer: float
    """Shares nonconforming that are accepted with probability 0.95 and 0.10."""


@dataclass(frozen=True)
class Characteristic:
    """Operating characteristics of several plans in one drawing, with the AQL's place on the x axis."""

    curves: list[Curve]
    aql: float
    x: list[Tick]
    y: list[Tick]


def nice(most: float) -> tuple[float, float]:
    """The step of an axis from 0 and its end, at least `most`, in at most five steps of 1, 2, 2.5 or 5 times ten^k."""
    if most <= 0:
        return 0.01, 0.05
    raw = most / 5
    power = 10.0 ** np.floor(np.log10(raw))
    step = next(power * m for m in (1, 2, 2.5, 5, 10) if power * m >= raw * (1 - 1e-9))
    return float(step), float(step * np.ceil(most / step - 1e-9))


def percent(share: float, step: float = 0.01) -> str:
    """A share as text, with as many decimals as the step needs."""
    digits = max(0, -int(np.floor(np.log10(step * 100) + 1e-9)))
    digits += 1 if round(step * 100, digits) != round(step * 100, 9) else 0
    return f"{100 * share:.{digits}f} %"


def control_chart(chart: Chart, lots: Sequence[LotView], ordered: bool = True) -> ControlChart:
    """The control chart of a supplier's lots in order of time; without lines between them where it is not known."""
    n = len(chart.value)
    first = max(0, n - MOST_POINTS)
    value, low, high = chart.value[first:], chart.low[first:], chart.high[first:]
    step, top = nice(min(1.0, max(float(value.max()), float(high.max()), chart.centre)))
    shown = len(value)
    pitch = (WIDE - LEFT - RIGHT) / shown
    x = LEFT + pitch * (np.arange(shown) + 0.5)
    y = lambda v: HIGH - BOTTOM - np.asarray(v) / top * (HIGH - TOP - BOTTOM)
    outside = chart.outside[first:]
    above = outside & (value > high)
    across, up = x.round(1).tolist(), y(value).round(1).tolist()
    points = [
        Point(across[i], up[i], lots[first + i], float(value[i]), bool(outside[i]), bool(above[i]))
        for i in range(shown)
    ]
    upper, lower = _steps(x, y(high), pitch), _steps(x, y(low), pitch)
    return ControlChart(
        points=points,
        line=_path([(p.x, p.y) for p in points]) if ordered else "",
        low=_path(lower),
        high=_path(upper),
        band=_path([*upper, *reversed(lower)]) + "Z",
        centre=round(float(y(chart.centre)), 1),
        value=chart.centre,
        ends=(round(float(y(low[-1])), 1), round(float(y(high[-1])), 1)),
        x=[Tick(across[i], str(first + i + 1)) for i in range(0, shown, -(-shown // 8))],
        y=_ticks(step, top, y),
        skipped=first,
    )


def characteristic(plans: Sequence[Plan], aql: float) -> Characteristic | None:
    """The curves of up to four plans, in percent nonconforming (AQLs up to 10); None where there are none."""
    if not plans or aql > 10:
        return None
    worst = min(1.0, max(quality_at(plan, 0.02) for plan in plans))
    step, right = nice(worst)
    x = lambda q: LEFT + np.asarray(q) / right * (WIDE - LEFT - RIGHT)
    y = lambda p: HIGH - BOTTOM - np.asarray(p) * (HIGH - TOP - BOTTOM)
    quality = np.linspace(0, right, 101)
    curves = []
    for plan in plans[:4]:
        path = _path(list(zip(x(quality).tolist(), y(acceptance(plan, quality)).tolist(), strict=True)))
        curves.append(Curve(plan, path, quality_at(plan, 0.95), quality_at(plan, 0.10)))
    across = [Tick(round(float(x(v)), 1), percent(v, step)) for v in np.arange(0, right + step / 2, step).tolist()]
    return Characteristic(curves, round(float(x(aql / 100)), 1), across, _ticks(0.25, 1.0, y))


def _ticks(step: float, top: float, y: Callable[[float], Any]) -> list[Tick]:
    return [Tick(round(float(y(v)), 1), percent(v, step)) for v in np.arange(0, top + step / 2, step).tolist()]


def _steps(x: np.ndarray, y: np.ndarray, pitch: float) -> list[tuple[float, float]]:
    """Limits as steps, each as wide as its lot."""
    return [(float(a + side * pitch / 2), float(b)) for a, b in zip(x, y, strict=True) for side in (-1, 1)]


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
