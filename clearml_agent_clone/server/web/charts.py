"""Curves as small SVG drawings that stand in the page itself."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from clearml_agent_clone.server.events.curves import Curve, Point
from clearml_agent_clone.server.web.html import Html, html

WIDTH, HEIGHT = 320, 120
COLOURS = 6
"""How many line classes ``c0`` … the style sheet knows; further curves begin again."""

_EDGE = 4


@attrs.frozen
class Frame:
    """The range of values that a drawing shows."""

    left: float
    right: float
    low: float
    high: float

    @classmethod
    def around(cls, curves: Sequence[Curve]) -> Frame:
        xs = [x for curve in curves for x, _ in curve.points]
        ys = [y for curve in curves for _, y in curve.points]
        return cls(min(xs), max(xs), min(ys), max(ys))

    def place(self, point: Point) -> tuple[float, float]:
        """Where ``point`` lies in the drawing, the origin being the upper left corner."""
        across = _part(point[0], self.left, self.right)
        down = 1 - _part(point[1], self.low, self.high)
        return _EDGE + across * (WIDTH - 2 * _EDGE), _EDGE + down * (HEIGHT - 2 * _EDGE)


def chart(title: str, curves: Sequence[Curve]) -> Html:
    """A figure with the curves of one metric in one frame."""
    drawn = [curve for curve in curves if curve.points]
    if not drawn:
        return Html("")
    frame = Frame.around(drawn)
    return html(
        '<figure><figcaption>{title}</figcaption><svg viewBox="0 0 {width} {height}" role="img" aria-label="{title}">'
        '{lines}</svg><div class="range"><span>{left} to {right}</span><span>{low} to {high}</span></div>'
        '<div class="legend">{legend}</div></figure>',
        title=title,
        width=WIDTH,
        height=HEIGHT,
        lines=[_line(curve, frame, number) for number, curve in enumerate(drawn)],
        left=number_text(frame.left),
        right=number_text(frame.right),
        low=number_text(frame.low),
        high=number_text(frame.high),
        legend=[_key(curve, number) for number, curve in enumerate(drawn)],
    )


def number_text(value: float) -> str:
    """A number as short as it is still telling."""
    return f"{value:.6g}"


def _line(curve: Curve, frame: Frame, number: int) -> Html:
    places = [frame.place(point) for point in curve.points]
    if len(places) == 1:
        x, y = places[0]
        return html('<circle class="c{colour}" cx="{x}" cy="{y}" r="3"/>', colour=number % COLOURS, x=x, y=y)
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    return html('<polyline class="c{colour}" points="{points}"/>', colour=number % COLOURS, points=points)


def _key(curve: Curve, number: int) -> Html:
    last = number_text(curve.points[-1][1])
    return html(
        '<span><i class="c{colour}"></i>{variant} <b>{last}</b></span>',
        colour=number % COLOURS,
        variant=curve.variant,
        last=last,
    )


def _part(value: float, low: float, high: float) -> float:
    """How far ``value`` is on the way from ``low`` to ``high``; halved first, as their distance may exceed a float."""
    half = high / 2 - low / 2
    return (value / 2 - low / 2) / half if half else 0.5
