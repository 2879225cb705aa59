"""The page: a table of contents, the sections in order, and under each where its figures come from."""

from __future__ import annotations

import re
from dataclasses import dataclass

from bench.results.markdown import bullets, paragraph, shell
from bench.results.record import Record

JSON = re.compile(r" --json \S+")
"""Each record has its own file; without it, runs of one command are one line."""

INTRODUCTION = """
`python -m bench.results` writes this page from [docs/measured](measured), and `make docs` checks that it is
current. Under each section stand the commands of its figures, the machine, the day and the commit. Each
command takes `--json PATH` besides.
"""

READING = (
    "*FP* is the factorized prior, *MSHP* the mean-scale hyperprior, *nats* the mean Kullback-Leibler "
    "divergence from the answer of the same network without coding.",
    "Bytes are those of whole packets, with header and checks. Changes of bytes are against the same frames, "
    "clean and undefended.",
    "Ranges in parentheses are 95 % bootstrap intervals over images. All machines are virtual: their times "
    "are noisy, their bytes and answers are not.",
    "*Recovered* means that the benchmark did not write its provenance yet. Day and commit are then those of "
    "the commit that holds the file; the code that ran is that one or a little older.",
    "The labelled photographs are 500 of the development set of the NIPS 2017 competition on adversarial "
    "attacks (Kaggle has it), square, 299 pixels wide. `--data` is a folder with `images/` and `labels.csv`, "
    "whose columns are `image` and `label`, an ImageNet class of 0 to 999. They are easier than ImageNet's "
    "validation set.",
    "What was tried and given up, and figures of earlier versions, are in [history.md](history.md).",
)


@dataclass(frozen=True)
class Section:
    """One claim.

    claim: what ships, in one or two sentences.
    parts: tables and pictures, as Markdown.
    notes: what limits the claim, or how to read the tables.
    setup: commands that come before those of the records.
    """

    title: str
    claim: str
    parts: tuple[str, ...]
    records: tuple[Record, ...]
    notes: tuple[str, ...] = ()
    setup: tuple[str, ...] = ()


@dataclass(frozen=True)
class Chapter:
    """Sections of one subject, or ``notes`` alone."""

    title: str
    sections: tuple[Section, ...] = ()
    notes: tuple[str, ...] = ()


ADAPTED_HEAD = "2026-11-27"
"""The day from which on a second head looks again at frames that seem corrupted."""


def is_before_adapted(record: Record) -> bool:
    """Whether a measurement is older than the adapted head."""
    return record.provenance.day < ADAPTED_HEAD


def before_adapted(record: Record, besides: str = "") -> tuple[str, ...]:
    """A note where a measurement is older than the adapted head."""
    older = is_before_adapted(record)
    return (f"Measured with the guard before it had an adapted head. {besides}",) if older else ()


def page(chapters: list[Chapter]) -> str:
    """The whole page, as Markdown."""
    blocks = ["# Results", paragraph(INTRODUCTION), bullets(READING), _contents(chapters)]
    for chapter in chapters:
        blocks.append(f"## {chapter.title}")
        for section in chapter.sections:
            blocks += _section(section)
        if chapter.notes:
            blocks.append(bullets(chapter.notes))
    return "\n\n".join(blocks) + "\n"


def _contents(chapters: list[Chapter]) -> str:
    lines = []
    for chapter in chapters:
        lines.append(f"- [{chapter.title}](#{_anchor(chapter.title)})")
        lines += [f"  - [{section.title}](#{_anchor(section.title)})" for section in chapter.sections]
    return "\n".join(lines)


def _anchor(title: str) -> str:
    """GitHub's anchor of a heading."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def _section(section: Section) -> list[str]:
    told = [record.provenance.command for record in section.records]
    commands = list(dict.fromkeys([*section.setup, *(JSON.sub("", command) for command in told if command)]))
    blocks = [f"### {section.title}", paragraph(section.claim), *section.parts]
    if section.notes:
        blocks.append(bullets(section.notes))
    return [*blocks, *([shell(commands)] if commands else []), bullets(map(_source, section.records))]


def _source(record: Record) -> str:
    told = record.provenance
    text = f"[{record.name}](measured/{record.name}): {told.machine}, {told.day}, `{told.short_commit}`"
    text += ", recovered" * told.recovered
    return text + ("" if told.command else "; no command of it was kept")
