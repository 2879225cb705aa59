"""The page about a campaign: its sentences, its figures, what it lets through."""

import re

import numpy as np
import pytest
from matplotlib.text import Text

from bench.resilience import plots
from bench.resilience.bars import GUARDED, summarise
from bench.resilience.cell import UNDEFENDED, Cell, Input, MeasuredCell, Subject, Treatment
from bench.resilience.outcomes import Outcomes
from bench.resilience.page import page
from bench.resilience.result import headline, sentences
from runtime.guard import Guard

NET = Subject("net <fp>", "fp", "01" * 8, "net-fp")
CLEAN = Input()
PLAIN, AUTO = Treatment(UNDEFENDED), Treatment(GUARDED, guard=Guard("auto"))
BUDGET = Treatment("auto budget=90", guard=Guard("auto", budget=90))


def attack(eps, name="pgd_e"):
    return Input("attack", name, eps, "unmasked", 20, 1)


def measured(size, correct=1):
    right = np.arange(4) < 4 * correct
    return MeasuredCell(np.full(4, size), right, np.full(4, "plain"), np.full(4, 2))


@pytest.fixture
def made():
    """Four images of 100 bytes each, attacked at 2 and 4 of 255."""
    made = {Cell(NET, CLEAN, PLAIN): measured(100), Cell(NET, CLEAN, AUTO): measured(99)}
    for eps in (2, 4):
        made |= {
            Cell(NET, attack(eps), PLAIN): measured(100 + 10 * eps, 0.5),
            Cell(NET, attack(eps), AUTO): measured(100 - eps, 0.75),
            Cell(NET, attack(eps), BUDGET): measured(80),
            Cell(NET, attack(eps), Treatment("blur-1.0", before="blur-1.0")): measured(100 + eps),
        }
    return made


def html(made):
    outcomes = Outcomes(made)
    return page(outcomes, {"images": 4}, [o.as_row() for o in outcomes.all], summarise(outcomes))


def test_the_result_in_words(made):
    outcomes = Outcomes(made)
    assert headline(outcomes) == (
        "Un-masked PGD-E at eps 4/255: an undefended frame takes up to 40.0 % more bytes than clean and "
        "loses up to 50.0 points of top-1. Behind the guard it takes at least 4.0 % fewer bytes than clean "
        "and loses up to 25.0 points of top-1."
    )
    said = list(sentences(outcomes, NET))
    assert said[0].startswith(
        "Un-masked PGD-E at eps 4/255: an undefended frame takes 40.0 % more bytes (+40.0 "
    )
    assert said[1].startswith("Behind the guard it takes 4.0 % fewer bytes (-4.0 to -4.0 %) than clean")
    assert said[2].startswith("Clean frames: behind the guard they take 1.0 % fewer bytes")
    assert said[-1] == "Only 4 images: the intervals are wide."
    text = html(made)
    assert text.index(headline(outcomes)) < text.index("<h2>")
    assert "net &lt;fp&gt;" in text and "net <fp>" not in text


def test_without_an_attack_the_page_says_so(made):
    clean = {cell: found for cell, found in made.items() if cell.input == CLEAN}
    assert headline(Outcomes(clean)) == "No attack on the bytes was measured."
    text = html(clean)
    assert "<svg" not in text and "No attack on the bytes was measured." in text


def test_figures_follow_the_page(made):
    """Their text and lines take the page's colours, light or dark; wide tables scroll by themselves."""
    text = html(made)
    assert text.count("<svg") == 3 and plots.INK not in text and plots.GRID not in text
    assert "currentColor" in text and "prefers-color-scheme: dark" in text
    assert text.count("<table>") == len(re.findall(r'<div class="scroll ?\w*"><table>', text))


def test_a_budget_has_a_curve_and_a_line(made):
    curves = plots.curves(Outcomes(made), NET)
    assert list(curves) == [
        "undefended, un-masked PGD-E", "guarded, un-masked PGD-E", "auto budget=90, un-masked PGD-E"
    ]  # fmt: skip
    assert [outcome.cell.input.level for outcome in curves["auto budget=90, un-masked PGD-E"]] == [2, 4]
    with plots.rate_figure(curves) as figure:
        (axes,) = figure.axes
        lines = {line.get_label(): line.get_ydata()[0] for line in axes.lines}
    assert lines["budget, 90 bytes"] == pytest.approx(0.9)


def test_labels_do_not_lie_on_each_other(made):
    rng = np.random.default_rng(0)
    for number in range(16):  # most of them in the same place
        sender = Treatment(f"filter-{number}", before=f"filter-{number}")
        made[Cell(NET, attack(4), sender)] = measured(104 + int(rng.integers(0, 2)))
    with plots.accuracy_figure(plots.points(Outcomes(made), NET, 4)) as figure:
        figure.draw_without_rendering()
        (axes,) = figure.axes
        boxes = [Text.get_window_extent(label) for label in axes.texts]  # without the line to the point
        inside = axes.get_window_extent()
    assert len(boxes) == 21  # the other senders, and clean frames
    for number, box in enumerate(boxes):
        assert box.x0 >= inside.x1 and box.y1 <= figure.bbox.y1 and box.x1 <= figure.bbox.x1
        assert not any(box.overlaps(other) for other in boxes[:number])
