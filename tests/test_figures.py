"""Figures: readable in both schemes and with colour-blindness, the same bytes every time, one text
alternative.
"""

import io
import itertools
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib import pyplot as plt

from kdcore.book import figures

PAGES = {"light": "#ffffff", "dark": "#14181e"}

# Colour vision deficiencies at full severity, linear RGB: Machado, Oliveira and Fernandes (2009),
# table 1
SEEN = {
    "normal": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}


def linear(colour):
    c = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def contrast(a, b):
    """WCAG contrast ratio of two colours, 1 to 21."""
    high, low = sorted((linear(c) @ [0.2126, 0.7152, 0.0722] for c in (a, b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def oklab(rgb):
    """Perceptual coordinates of linear RGB (Ottosson 2020); black to white is a distance of 1."""
    lms = np.array(
        [
            [0.4122214708, 0.5363325363, 0.0514459929],
            [0.2119034982, 0.6806995451, 0.1073969566],
            [0.0883024619, 0.2817188376, 0.6299787005],
        ]
    ) @ np.clip(rgb, 0, 1)
    return np.array(
        [
            [0.2104542553, 0.7936177850, -0.0040720468],
            [1.9779984951, -2.4285922050, 0.4505937099],
            [0.0259040371, 0.7827717662, -0.8086757660],
        ]
    ) @ np.cbrt(lms)


def picture(alt="A line that rises from 0 to 1."):
    figures.style()
    fig, ax = plt.subplots()
    ax.plot([0, 1], [0, 1], color=figures.COLOUR["one-hot"], label="one-hot")
    ax.plot([0, 1], [1, 0], color=figures.COLOUR["weak view"], label=r"$\tau$")
    ax.legend()
    return figures.show(fig, alt)


@pytest.mark.parametrize("scheme", PAGES)
def test_every_colour_stands_out_from_both_pages(scheme):
    ink = {"light": figures.INK_LIGHT, "dark": figures.INK_DARK}[scheme]
    assert contrast(ink, PAGES[scheme]) >= 7
    for name, colour in figures.COLOUR.items():
        assert contrast(ink if colour == figures.INK else colour, PAGES[scheme]) >= 3, name


@pytest.mark.parametrize("eye", SEEN)
def test_colours_differ_also_with_colour_blindness(eye):
    for ink in (figures.INK_LIGHT, figures.INK_DARK):
        seen = {
            name: oklab(np.array(SEEN[eye]) @ linear(ink if c == figures.INK else c))
            for name, c in figures.COLOUR.items()
        }
        for a, b in itertools.combinations(seen, 2):
            assert np.linalg.norm(seen[a] - seen[b]) >= 0.08, (a, b, ink)


def test_svg_holds_one_ink_that_follows_the_scheme():
    svg = picture().svg
    assert figures.INK not in svg and svg.count("var(--ink)") > 10
    assert "prefers-color-scheme:dark" in svg
    leftover = set(re.findall(r"#[0-9a-f]{6}\b", svg.lower())) - {
        c.lower() for c in figures.COLOUR.values()
    }
    assert leftover == {figures.INK_LIGHT, figures.INK_DARK}, (
        "a colour of matplotlib's own would vanish on one of the pages"
    )


def test_svg_says_what_it_shows():
    alt = 'Accuracy < 0.5 & "falling" with τ.'
    root = ET.fromstring(picture(alt).svg.encode())
    [title] = [node for node in root if node.get("id") == "alt"]
    assert title.text == alt
    assert (root.get("role"), root.get("aria-labelledby")) == ("img", "alt")


def test_text_stays_text():
    words = "".join(ET.fromstring(picture().svg.encode()).itertext())
    assert "one-hot" in words and "τ" in words


def test_missing_alternative_is_refused_and_figure_closed_otherwise():
    with pytest.raises(ValueError, match="alt is empty"):
        picture("  ")
    plt.close("all")
    picture()
    assert not plt.get_fignums()


def test_same_bytes_in_another_process():
    code = (
        "import sys; sys.path.insert(0, 'tests'); import test_figures\n"
        "sys.stdout.buffer.write(test_figures.picture().svg.encode())"
    )
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    first, second = (
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=root,
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in "12"
    )
    assert first == second == picture().svg.encode()


def drawn(draw, **layout):
    """The table of a figure that `draw(axes)` draws."""
    figures.style()
    fig, axes = plt.subplots(**layout)
    draw(axes)
    return figures.show(fig, "A figure.")._repr_mimebundle_().get("text/csv", "")


def test_table_of_points_with_intervals_bars_lines_and_cells():
    def draw(axes):
        line, points, bars, mesh = axes.flat
        line.plot([0, 1], [2, 3.14159265], label="curve")
        line.axhline(1.5, color=figures.INK)
        line.fill_between([0, 1], [1, 2], [3, 4], label="band")
        line.set(title="lines", xlabel="time", ylabel="share")
        points.errorbar(
            [0.1], [2], yerr=[[0.5], [0.25]], xerr=1, fmt="o", color=figures.COLOUR["weak view"]
        )
        points.errorbar([1.1], [4], yerr=1, fmt="^", color=figures.COLOUR["strong view"])
        points.plot([], [], "s", color=figures.COLOUR["weak view"], label="weak")
        points.plot([], [], "^", color=figures.INK, label="pair")
        points.annotate("here", (0.1, 2))
        points.legend()
        bars.bar(["a", "b"], [1, 2], label="bars")
        mesh.pcolormesh([0, 1, 2], [0, 2], [[5, np.nan]])
        mesh.figure.colorbar(mesh.collections[0], ax=mesh)

    assert drawn(draw, nrows=2, ncols=2).splitlines() == [
        "panel,x axis,y axis,series,mark,x,x low,x high,y,y low,y high,value,note",
        "lines,time,share,curve,line,0,,,2,,,,",
        "lines,time,share,curve,line,1,,,3.14159,,,,",
        "lines,time,share,,line,,,,1.5,,,,",
        "lines,time,share,band,band,0,,,,1,3,,",
        "lines,time,share,band,band,1,,,,2,4,,",
        "2,,,weak,point,0.1,-0.9,1.1,2,1.5,2.25,,here",
        "2,,,pair,point,1.1,,,4,3,5,,",
        "3,,,bars,bar,a,,,1,,,,",
        "3,,,bars,bar,b,,,2,,,,",
        "4,,,,cell,0.5,,,1,,,5,",
    ]


def test_alternative_has_no_signed_zero_and_no_nan():
    assert picture("Slopes: nano net -0.00, +nan, -0.5.").alt == "Slopes: nano net 0.00, –, -0.5."
    assert '<title id="alt">r = 0.0</title>' in picture("r = −0.0").svg


def test_texts_in_the_table_are_no_formulas_and_zeros_have_no_sign():
    def draw(axis):
        axis.plot([-0.0, -1e-20], [0.0, -2.5], label="=cmd|' /C calc'!A0")
        axis.plot([1], [1], "o", label="-1+2")
        axis.annotate("@SUM(A1)", (1, 1))
        axis.set(title="+1", xlabel="=1", ylabel="y")

    head, *rows = drawn(draw).splitlines()
    assert head == "panel,series,mark,x: =1,y: y,note"
    assert rows == [
        "+1,'=cmd|' /C calc'!A0,line,0,0,",
        "+1,'=cmd|' /C calc'!A0,line,-1e-20,-2.5,",
        "+1,'-1+2,point,1,1,'@SUM(A1)",
    ]


def test_dollars_of_a_name_are_no_mathematics():
    words = drawn(lambda axis: axis.set_title(figures.literal("a$_b$ net")) and axis.plot([0], [1]))
    assert words.splitlines()[1].startswith("a$_b$ net,")
    figures.style()
    fig, axis = plt.subplots()
    axis.set_title(figures.literal("a$_b$ net"))
    assert "a$_b$ net" in "".join(
        ET.fromstring(figures.show(fig, "A title.").svg.encode()).itertext()
    )


def test_label_that_all_rows_share_is_in_the_head():
    def draw(axes):
        for axis, label in zip(axes, ("accuracy (%)", "gap (points)")):
            axis.plot([0], [1], "o")
            axis.set_ylabel(label)
        axes[1].set_xlabel("time (s)")

    assert drawn(draw, nrows=2, sharex=True).splitlines() == [
        "panel,y axis,mark,x: time (s),y",
        "1,accuracy (%),point,0,1",
        "2,gap (points),point,0,1",
    ]


def test_table_names_the_tick_a_mark_stands_at_unless_the_tick_is_its_position():
    def draw(axes):
        for axis, ticks in zip(axes, (["weak", "strong\nview"], ["1", "50"], ["0", "1"])):
            axis.plot([0.1, 0.9], [0, 1], "o")
            axis.set_xticks([0, 1], ticks)

    assert [line.split(",")[2] for line in drawn(draw, ncols=3).splitlines()[1:]] == [
        "weak",
        "strong view",
        "1",
        "50",
        "0.1",
        "0.9",
    ]


def test_table_leaves_illustrations_out_and_large_figures_without():
    def illustrate(axis):
        axis.imshow(np.eye(8))
        axis.axis("off")

    def scale(axis):
        axis.imshow(np.ones((2, 3)), origin="lower", extent=(0, 3, 0, 2))

    assert drawn(illustrate) == "" and drawn(lambda axis: axis.imshow(np.zeros((2, 2, 3)))) == ""
    assert drawn(scale).splitlines()[:2] == ["mark,x,y,value", "cell,0.5,0.5,1"]
    assert drawn(lambda axis: axis.plot(range(40_000))) == ""


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(*[st.floats(-1e6, 1e6)] * 2), min_size=1, max_size=20))
def test_table_gives_back_every_point_to_six_digits(points):
    table = pd.read_csv(io.StringIO(drawn(lambda axis: axis.scatter(*zip(*points)))))
    assert np.allclose(table[["x", "y"]], points, rtol=1e-5, atol=1e-300)


def test_table_goes_along_beside_the_picture():
    bundle = picture()._repr_mimebundle_()
    assert (
        bundle["text/csv"].startswith("series,mark,x,y\none-hot,line,0,0\n")
        and "text/csv" not in figures.Picture("<svg/>", "x")._repr_mimebundle_()
    )


def test_frames_have_one_table_with_the_sliders_value():
    bundle = figures.Frames(
        [picture(), picture()], [0.5, 4.0], "temperature τ"
    )._still._repr_mimebundle_()
    single = picture()._repr_mimebundle_()["text/csv"].splitlines()
    assert bundle["text/csv"].splitlines() == ["temperature τ," + single[0]] + [
        f"{value}," + row for value in ("0.5", "4") for row in single[1:]
    ]


def test_frames_link_slider_to_pictures():
    a, b = picture("First."), picture("Second.")
    frames = figures.Frames([a, b], [0.5, 4.0], "temperature τ")
    slider, stack = frames.children
    assert [label for label, _ in slider.options] == ["0.5", "4"]
    assert frames._link.source == (slider, "index") and frames._link.target == (
        stack,
        "selected_index",
    )
    assert [
        'alt="First."' in stack.children[0].value,
        'alt="Second."' in stack.children[1].value,
    ] == [True, True]


def test_frames_have_a_still_where_no_widget_runs():
    a = picture()
    bundle = figures.Frames([a], [1], "τ")._repr_mimebundle_()
    bundle = bundle[0] if isinstance(bundle, tuple) else bundle
    assert bundle["image/svg+xml"] == a.svg
    assert "application/vnd.jupyter.widget-view+json" in bundle


@pytest.mark.parametrize("pictures, values", [(0, []), (2, [1])])
def test_frames_refuse_unequal_numbers(pictures, values):
    with pytest.raises(ValueError, match="one value for each picture"):
        figures.Frames([picture()] * pictures, values, "τ")
