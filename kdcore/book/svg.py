"""Pictures that a script can move: elements of HTML and SVG, and axes with the scale of live.js."""

import html
import math
from typing import NamedTuple

from matplotlib.ticker import MaxNLocator


def tag(name: str, *inside: str, **attributes) -> str:
    """An element of HTML or SVG; True is an attribute without a value, and _ stands for -."""
    given = {key.strip("_").replace("_", "-"): value for key, value in attributes.items()}
    written = "".join(
        f" {key}" if value is True else f' {key}="{html.escape(str(value))}"'
        for key, value in given.items()
    )
    return f"<{name}{written}>{''.join(inside)}</{name}>"


WIDTH, HEIGHT = 340, 270  # units of a picture: pixels on a phone, so that text of 13 stays legible
LEFT, RIGHT, TOP, BOTTOM = 38, 330, 26, 226


class Plane(NamedTuple):
    """The axes of a picture: what their ends mean, and which of them, "x", "y" or "xy", are
    logarithmic. live.js has the same scale.
    """

    x: tuple[float, float]
    y: tuple[float, float]
    log: str = ""

    def _share(self, axis, value):
        a, b = getattr(self, axis)
        return math.log(value / a) / math.log(b / a) if axis in self.log else (value - a) / (b - a)

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Where a point lies in the picture."""
        across, up = self._share("x", x), self._share("y", y)
        return (round(LEFT + across * (RIGHT - LEFT), 1), round(BOTTOM - up * (BOTTOM - TOP), 1))

    def line(self, points) -> str:
        """The `d` of a path."""
        return "M" + "L".join("{} {}".format(*self.at(x, y)) for x, y in points)

    def move(self, x: float, y: float) -> str:
        """The style of a mark that is drawn around 0; the script writes another."""
        return "transform:translate({}px,{}px)".format(*self.at(x, y))

    def given(self) -> dict:
        """What a script needs to have the same scale."""
        return {**self._asdict(), "box": [LEFT, RIGHT, TOP, BOTTOM]}

    def picture(self, alt, xlabel, ylabel, *marks, xticks=None, yticks=None) -> str:
        """One SVG with its axes; ticks {value: text}, where none are given round numbers."""
        xticks, yticks = xticks or round_ticks(*self.x), yticks or round_ticks(*self.y)
        middle = (LEFT + RIGHT) / 2
        ink = [f'<path d="M{LEFT} {TOP}V{BOTTOM}H{RIGHT}" class="kd-live-axis"/>']
        for value, text in xticks.items():
            x, _ = self.at(value, self.y[0])
            ink.append(tag("text", text, x=x, y=BOTTOM + 17, text_anchor="middle"))
        for value, text in yticks.items():
            _, y = self.at(self.x[0], value)
            ink.append(f'<path d="M{LEFT} {y}H{RIGHT}" class="kd-live-grid"/>')
            ink.append(tag("text", text, x=LEFT - 5, y=y + 4.5, text_anchor="end"))
        ink.append(tag("text", html.escape(ylabel), x=0, y=14))
        ink.append(tag("text", html.escape(xlabel), x=middle, y=HEIGHT - 6, text_anchor="middle"))
        box = f"0 0 {WIDTH} {HEIGHT}"
        return tag("svg", *ink, *marks, viewBox=box, role="img", aria_label=alt, font_size=13)


def round_ticks(low: float, high: float) -> dict[float, str]:
    """About five round numbers between two, {value: text}."""
    ticks = MaxNLocator(5, steps=[1, 2, 5, 10]).tick_values(low, high)
    return {t: f"{t:g}".replace("-", "−") for t in ticks.round(10) if low <= t <= high}
