"""The cells of a campaign: the presets, and the plan of the command line's options.

Every plan holds the clean, undefended cell of each bundle: the reference of all others.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import product
from typing import Any, Literal

from bench.attacks import QUERIES, THREATS, knows_defence, knows_guard
from bench.attacks import located as located_threat
from bench.common.errors import CampaignError
from bench.resilience.bars import ADAPTIVE, ADAPTIVE_GUARD, GUARDED, RATE
from bench.resilience.bars import UNSPLIT as WHOLE
from bench.resilience.catalogue import corruptions as corruption_names
from bench.resilience.catalogue import trivial_defences as filters
from bench.resilience.catalogue.trivial_defences import TRIVIAL, TWO_WAY
from bench.resilience.cell import Cell, Input, Subject, Treatment
from bench.resilience.review.worst import CLASS_THREATS, RATE_THREATS
from export.references import fingerprint
from export.robust.corruptions import CORRUPTIONS, SEVERITIES
from runtime.guard import Guard
from runtime.guard.decision import Budget, Mode
from runtime.guard.defence import Defence

Setting = Literal["unmasked", "released"]
PLAIN = Treatment()
AUTO = Treatment(GUARDED, guard=Guard())
BASELINES = (
    *(Treatment(name, before=name) for name in TRIVIAL),
    Treatment(TWO_WAY, before="random", both=True),
)
UNSPLIT = Treatment(WHOLE, unsplit=True)
RELEASED_AT, ADAPTIVE_AT = {4}, {2, 4}
"""eps of the preset ``bars``, of 255."""

GRID_WEIGHTS, GRID_BLURS = (0.0, 0.02, 0.05), ("blur-0.5", "blur-0.7")
GRID_RATES = ((0, 0.0), (0, 0.06), (2, 0.03), (4, 0.0), (4, 0.03), (6, 0.0), (6, 0.03), (8, 0.0))
"""Of the preset ``grid``: lambda of the denoiser, blurs in its place, coarseness and lambda of the rate."""

NONE, OURS, EVERY_BASELINE = "none", "ours", "baselines"


@dataclass(frozen=True)
class Effort:
    """How attacks are made.

    eps: of 255; None leaves the preset's.
    seeds: each is an attack, or a draw of a corruption, of its own; rows are means over them.
    guard: of the preset ``review``.
    """

    eps: tuple[int, ...] | None = None
    steps: int = 20
    restarts: int = 1
    seeds: tuple[int, ...] = (0,)
    guard: Guard = field(default_factory=Guard)

    def attacks(
        self,
        name: str,
        eps: Iterable[int],
        setting: Setting = "unmasked",
        guard: Guard | None = None,
        made_on: Subject | None = None,
    ) -> list[Input]:
        """One input an eps and seed; an adaptive threat knows the defence of the ``guard``, others all of it.

        Raises CampaignError for a threat that is not there.
        """
        knows = told(name, guard)
        code = "" if name in THREATS else fingerprint(located_threat(name))
        return [
            Input("attack", name, level, setting, self.steps, self.restarts, seed, knows, made_on, code)
            for level in eps
            for seed in self.seeds
        ]

    def corruptions(self, names: Iterable[str], severities: Iterable[int]) -> list[Input]:
        """One input a corruption, severity and seed. Raises CampaignError for one that is not there."""
        code = {name: _code(corruption_names.located(name)) for name in names}
        return [
            Input("corruption", name, severity, seed=seed, code=code[name])
            for name in code
            for severity in severities
            for seed in self.seeds
        ]


def told(threat: str, guard: Guard | None) -> Defence | Guard | None:
    """What a threat is told of the guard that its frames will meet; who queries has a sender at least."""
    if threat == QUERIES:
        return guard or Guard("never")
    if guard is None:
        return None
    return guard if knows_guard(threat) else guard.defence if knows_defence(threat) else None


def needs_guard(threat: str) -> bool:
    """Whether a threat makes no sense against a sender without a guard."""
    return threat != QUERIES and (knows_defence(threat) or knows_guard(threat))


def bars(subjects: Sequence[Subject], effort: Effort) -> list[Cell]:
    """The cells of every bar except those of corruptions; slow attacks only where there is a bar."""
    eps = effort.eps or (2, 4, 8)
    rate = effort.attacks(RATE, eps)
    cells = _product(subjects, [Input(), *rate], [PLAIN, AUTO, *BASELINES])
    released = effort.attacks(RATE, set(eps) & RELEASED_AT, "released")
    cells += _product(subjects, released, [PLAIN, AUTO])
    for knowing in (ADAPTIVE, ADAPTIVE_GUARD):
        attacks = effort.attacks(knowing, sorted(set(eps) & ADAPTIVE_AT), guard=Guard())
        cells += _product(subjects, attacks, [AUTO])
    return cells


def review(subjects: Sequence[Subject], effort: Effort) -> list[Cell]:
    """Every threat on the rate and on the class, told all it can use; the worst of them a photograph."""
    guarded = replace(AUTO, guard=effort.guard)
    cells = _product(subjects, [Input()], [PLAIN, guarded, UNSPLIT])
    for name in (*RATE_THREATS, *CLASS_THREATS):
        attacks = effort.attacks(name, effort.eps or (2, 4), guard=effort.guard)
        cells += _product(subjects, attacks, [*[PLAIN] * (name == RATE), guarded, UNSPLIT])
    return cells


def corruptions(subjects: Sequence[Subject], effort: Effort) -> list[Cell]:
    """The 19 corruptions at 5 severities, guarded and not."""
    return _product(subjects, [Input(), *effort.corruptions(CORRUPTIONS, SEVERITIES)], [PLAIN, AUTO])


def quick(subjects: Sequence[Subject], effort: Effort) -> list[Cell]:
    """The first bundle under one attack and one corruption: a few minutes on twenty images."""
    inputs = [
        Input(),
        *effort.attacks(RATE, effort.eps or (4,)),
        *effort.corruptions(("gaussian_noise",), (3,)),
    ]
    few = [sender for sender in BASELINES if sender.name in ("blur-1.0", "jpeg-75")]
    return _product(subjects[:1], inputs, [PLAIN, AUTO, *few])


def grid(subjects: Sequence[Subject], effort: Effort) -> list[Cell]:
    """Strengths of denoiser and rate control, every frame defended, and a blur in the denoiser's place."""
    inputs = [Input(), *effort.attacks(RATE, effort.eps or (2, 4, 8))]
    ours = [_always(f"TV {weight:g}", weight, *rate) for weight in GRID_WEIGHTS for rate in GRID_RATES]
    blurs = [replace(_always(blur, 0.0, *rate), before=blur) for blur in GRID_BLURS for rate in GRID_RATES]
    return _product(subjects, inputs, [PLAIN, *ours, *blurs])


def _always(name: str, weight: float, coarseness: int, control: float) -> Treatment:
    defence = Defence("descent", weight, coarseness=coarseness, rate_control=control)
    return Treatment(f"{name}, coarseness {coarseness}, rate {control:g}", guard=Guard("always", defence))


PRESETS = {"bars": bars, "review": review, "corruptions": corruptions, "grid": grid, "quick": quick}


def custom(
    subjects: Sequence[Subject], effort: Effort, threats: Sequence[str], settings: Sequence[Setting],
    corrupting: Sequence[str], severities: Sequence[int], senders: Sequence[Treatment],
) -> list[Cell]:  # fmt: skip
    """Every combination of the options; a threat that knows a defence or a guard has that of each sender."""
    inputs = [Input(), *effort.corruptions(corrupting, severities)]
    cells = _product(subjects, inputs, [PLAIN, *senders])
    eps = effort.eps or (2, 4, 8)
    for name in threats:
        for setting in settings:
            for sender in senders:
                if sender.guard is not None or not needs_guard(name):
                    cells += _product(subjects, effort.attacks(name, eps, setting, sender.guard), [sender])
    return list(dict.fromkeys(cells))


def senders(
    defences: Sequence[str], guards: Sequence[Mode], budgets: Sequence[Budget] = ()
) -> list[Treatment]:
    """Treatments by the names of ``--defence``: none, ours, ours:weight=0.02,..., baselines, or a filter's.

    ``ours`` comes once a guard mode with the bundle's budget, and once with each of the ``budgets``. A
    filter may be a caller's own, ``module:name``. Raises CampaignError for anything else.
    """
    found: list[Treatment] = []
    for name in defences:
        if name == NONE:
            found.append(PLAIN)
        elif name == EVERY_BASELINE:
            found += BASELINES
        elif name == TWO_WAY:
            found.append(BASELINES[-1])
        elif name == UNSPLIT.name:
            found.append(UNSPLIT)
        elif name.split(":")[0] == OURS:
            defence, about = _defence(name.partition(":")[2])
            for mode, budget in product(guards, (Guard.budget, *budgets)):
                words = (mode, about, f"budget={budget or 'none'}" if budget != Guard.budget else "")
                found.append(Treatment(" ".join(filter(None, words)), guard=Guard(mode, defence, budget)))
        else:
            found.append(_filtered(name))
    return list(dict.fromkeys(found))


def _filtered(name: str) -> Treatment:
    try:
        return Treatment(name, before=name, code=_code(filters.located(name)))
    except CampaignError as error:
        names = (NONE, OURS, EVERY_BASELINE, UNSPLIT.name, TWO_WAY, *TRIVIAL, *filters.known())
        known = ", ".join(names)
        raise CampaignError(f"no defence {name!r}: there are {known}, and module:name") from error


def _code(where: str | None) -> str:
    """Fingerprint of a caller's own code; empty for ours."""
    return "" if where is None else fingerprint(where)


def _defence(text: str) -> tuple[Defence, str]:
    """``weight=0.02,mode=rof`` -> the defence and its name."""
    known = {one.name for one in fields(Defence)}
    given: dict[str, Any] = {}
    for part in filter(None, text.split(",")):
        key, _, value = part.partition("=")
        if key not in known or not value:
            raise CampaignError(
                f"no setting {part!r} of a defence: there are {', '.join(sorted(known))}=VALUE"
            )
        try:
            given[key] = json.loads(value)
        except ValueError:
            given[key] = value
    return Defence(**given), text


def _product(subjects: Sequence[Subject], inputs: Sequence[Input], how: Sequence[Treatment]) -> list[Cell]:
    return [Cell(subject, given, sender) for subject in subjects for given in inputs for sender in how]


def needs_attacks(cells: Iterable[Cell]) -> bool:
    """Whether torch is needed."""
    return any(cell.input.kind == "attack" for cell in cells)
