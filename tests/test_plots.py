"""Marks and tables of kdcore.book: what they draw is what they were given, read by figure_data."""

import numpy as np
import pandas as pd
import pytest

from kdcore.book import figure_data, figures, plots, tables
from kdcore.stats import Interval

A, B = Interval(1.0, 0.5, 1.5, 5), Interval(-2.0, -2.5, -1.0, 5)
TWO = Interval(3.0, -40.0, 46.0, 2)
LOOKS = {"here": plots.Look("weak teacher"), "there": plots.Look("strong view", "s", filled=False)}


@pytest.fixture
def axis():
    figures.style()
    fig, (axis,) = plots.panels()
    return axis


def drawn(axis):
    return figure_data.table(axis.figure, figures.INK)


def test_a_point_has_its_interval_and_that_of_two_seeds_has_none(axis):
    plots.mark(axis, 0.25, A, "weak teacher", "a")
    plots.mark(axis, TWO, B, plots.Look("strong view"), "b")
    a, b = drawn(axis).to_dict("records")
    assert (a["x"], a["y"], a["y low"], a["y high"], a["series"]) == (
        "0.25",
        "1",
        "0.5",
        "1.5",
        "a",
    )
    assert (b["x"], b["x low"], b["y low"], b["y high"]) == ("3", "", "-2.5", "-1")


def test_rows_stand_in_order_and_a_missing_one_is_left_out(axis):
    plots.forest(
        axis, {"first": {"here": A, "there": B}, "second": {"here": None, "there": 4.0}}, LOOKS
    )
    found = drawn(axis)
    points = found[found["mark"] == "point"]
    assert points[["y", "x", "x low"]].values.tolist() == [
        ["first", "1", "0.5"], ["first", "-2", "-2.5"], ["second", "4", ""]
    ]  # fmt: skip
    assert points["series"].tolist() == ["here", "there", "there"], "not the first marks alone"
    low, high = axis.get_ylim()
    assert low > high, "the first row is on top"
    assert (
        found[found["mark"] == "line"]["x"].tolist() == ["0", "0"]
        or (found["mark"] == "line").any()
    )


def test_columns_and_curves(axis):
    plots.groups(axis, {"ww": {"here": A}, "ss": {"here": B, "there": 2.0}}, LOOKS)
    assert drawn(axis)[["x", "y", "series"]].values.tolist() == [
        ["ww", "1", "here"], ["ss", "-2", "here"], ["ss", "2", "there"]
    ]  # fmt: skip
    _, (other,) = plots.panels()
    plots.curve(other, [1, 2], [A, 5.0], LOOKS["here"], "line")
    found = drawn(other)
    assert found[found["mark"] == "line"]["y"].tolist() == ["1", "5"]
    assert found[found["mark"] == "point"]["y low"].tolist() == ["0.5", ""]


def test_a_legend_names_each_series_once(axis):
    fig, axes = plots.panels(2)
    for one in axes:
        plots.mark(one, 0, A, "weak teacher", "a")
    plots.key(axes[0], {"b": "strong view"})
    plots.legend(fig, "n = 5")
    assert sorted(t.get_text() for t in fig.legends[0].get_texts()) == ["a", "b"]


@pytest.mark.parametrize("channels", [1, 3])
def test_a_map_lies_over_its_picture(axis, channels):
    image = np.full((channels, 8, 8), 100, np.uint8)
    plots.overlay(axis, image, np.eye(2), 0.5, "what")
    assert (
        not axis.axison
        and axis.get_title() == "what"
        and len(axis.images) == (2 if channels == 1 else 1)
    )
    if channels == 3:
        shown = axis.images[0].get_array()
        assert shown.min() == 25 and shown.max() == 100  # a quarter is left where the map is 0


def test_numbers_of_an_alternative_text():
    assert plots.told({"a": A, "b": 0.126}) == "a 1.00, b 0.13"
    assert plots.told({"x": {"a": A}, "y": {"a": B}}, 1, " %") == "x: a 1.0 %; y: a -2.0 %"


def test_a_table_says_intervals_as_prose_does():
    text = tables.show(
        [{"what": "a", "effect": A}, {"what": "b", "effect": None}], "points, n = 5", 1
    ).data
    assert text.startswith("points, n = 5\n\n|")
    assert "+1.0 [+0.5,\N{NO-BREAK SPACE}+1.5]" in text and "–" in text
    assert "0.123" in tables.show(pd.DataFrame([{"v": 0.12345}]), floatfmt=".3f").data


def test_several_tables_are_one_output():
    first, second = (tables.show([{"what": name}], f"of {name}") for name in ("a", "b"))
    found = tables.together(first, "Nothing else.", second).data
    assert found == f"{first.data}\n\nNothing else.\n\n{second.data}"


def test_a_page_keeps_what_it_collected(monkeypatch):
    asked = []

    def collect(measurement, specs, **arguments):
        asked.append((measurement, specs, arguments))
        return pd.DataFrame({"value": range(len(specs)), "spec": specs})

    monkeypatch.setattr(tables.results, "collect", collect)
    page = tables.Page()
    found = page.collect("m", [(0, "ww", "s0"), (1, "ss", "s1")], ["seed", "teachers"], draws=3)
    assert found.columns.tolist() == ["seed", "teachers", "value", "spec"] and found[
        "teachers"
    ].tolist() == ["ww", "ss"]
    page.collect("m", ["s2"])
    assert asked[1] == ("m", ["s2"], {}) and page.rows["spec"].tolist() == ["s0", "s1", "s2"]
