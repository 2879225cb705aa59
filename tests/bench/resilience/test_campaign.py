"""Cells are measured on real packets, kept, and never measured twice."""

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from bench.common.errors import BenchError, CampaignError, MissingPackage
from bench.common.photos import labelled
from bench.resilience import campaign as campaigns
from bench.resilience.campaign import Campaign
from bench.resilience.catalogue.trivial_defences import TRIVIAL
from bench.resilience.cell import Cell, Input, MeasuredCell, Subject, Treatment
from bench.resilience.store import Store, digest, fingerprint
from bench.resilience.workers import in_process, in_processes, on_ray
from export.robust.corruptions import corrupt
from runtime.bundle import load
from runtime.engines import EngineOptions
from runtime.guard import Guard
from runtime.guard.defence import Defence
from runtime.head import Head
from runtime.tail import Tail
from tests.tiny_bundle import tiny_images

ENGINE = EngineOptions(threads=1)
ALWAYS = Treatment("always", guard=Guard("always"))
NOISE = Input("attack", "noise", 8, "unmasked", 1, 1)


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    (folder / "images").mkdir()
    lines = ["image,label"]
    for number, image in enumerate(tiny_images(4)):
        Image.fromarray(image).save(folder / "images" / f"{number}.png")
        lines.append(f"{number},{number}")
    (folder / "labels.csv").write_text("\n".join(lines))
    return labelled(folder)


@pytest.fixture(scope="module")
def subject(tiny_bundles):
    return Subject.of(load(tiny_bundles["fp"]))


def opened(folder, samples, run=in_process):
    return Campaign(samples, Store(folder, fingerprint(samples)), run, ENGINE)


def counting(counts):
    """In this process; counts the tasks by function, and dies after as many as ``counts['alive']`` says."""

    def run(function, tasks):
        for task in tasks:
            if counts.get("alive", 99) <= sum(v for k, v in counts.items() if k != "alive"):
                raise KeyboardInterrupt
            counts[function.__name__] = counts.get(function.__name__, 0) + 1
            yield task, function(task)

    return run


def _pairs(one, other):
    return zip(vars(one).values(), vars(other).values(), strict=True)


def cells_of(subject):
    return [Cell(subject, given, sender) for given in (Input(), NOISE) for sender in (Treatment(), ALWAYS)]


def test_a_cell_is_what_head_and_tail_do(subject, samples, tiny_bundles, tmp_path):
    blurred = Cell(subject, Input("corruption", "contrast", 2), Treatment("blur-1.0", before="blur-1.0"))
    guarded = Cell(subject, Input(), ALWAYS)
    found = opened(tmp_path, samples).measure([blurred, guarded])
    bundle = load(tiny_bundles["fp"])
    head, defended, tail = Head(bundle), Head(bundle, guard=Guard("always")), Tail(bundle)
    for number, sample in enumerate(samples):
        square = bundle.manifest.preprocess.square(sample.image())
        frame = corrupt(square, "contrast", 2)
        data = head.encode(TRIVIAL["blur-1.0"](frame)).to_bytes()
        assert found[blurred].bytes[number] == len(data)
        assert found[blurred].correct[number] == (tail.decode(data).argmax() == number)
        assert found[blurred].linf[number] == np.abs(frame.astype(int) - square).max()
        assert found[guarded].bytes[number] == len(defended.encode(square).to_bytes())
    assert set(found[blurred].rung) == {"plain"} and set(found[guarded].rung) == {"defended"}


def test_attacked_frames_stay_inside_their_budget_and_serve_all_senders(subject, samples, tmp_path):
    counts = {}
    found = opened(tmp_path, samples, counting(counts)).measure(cells_of(subject))
    assert counts == {"attacked_frames": 1, "measure_cell": 4}
    assert found[Cell(subject, NOISE, Treatment())].linf.max() == 8
    assert found[Cell(subject, Input(), Treatment())].linf.max() == 0


def test_a_killed_campaign_goes_on_where_it_was(subject, samples, tmp_path):
    killed, resumed, again = {"alive": 3}, {}, {}
    with pytest.raises(KeyboardInterrupt):
        opened(tmp_path, samples, counting(killed)).measure(cells_of(subject))
    found = opened(tmp_path, samples, counting(resumed)).measure(cells_of(subject))
    assert killed == {"alive": 3, "attacked_frames": 1, "measure_cell": 2}
    assert resumed == {"measure_cell": 2}
    other = opened(tmp_path, samples, counting(again)).measure(cells_of(subject))
    assert again == {}
    for cell, measured in found.items():
        assert all(np.array_equal(a, b) for a, b in _pairs(measured, other[cell]))
    assert not list(tmp_path.rglob(".*"))


def test_an_attack_in_batches_is_resumed_by_the_batch(subject, samples, tmp_path, monkeypatch):
    monkeypatch.setattr(campaigns, "BATCH", 3)
    counts, resumed = {"alive": 1}, {}
    with pytest.raises(KeyboardInterrupt):
        opened(tmp_path, samples, counting(counts)).measure([Cell(subject, NOISE, Treatment())])
    opened(tmp_path, samples, counting(resumed)).measure([Cell(subject, NOISE, Treatment())])
    assert resumed == {"attacked_frames": 1, "measure_cell": 1}
    assert sorted(len(np.load(file)) for file in (tmp_path / "frames").iterdir()) == [1, 3]


@pytest.mark.parametrize(
    "changed",
    [
        lambda cell: replace(cell, input=replace(cell.input, steps=2)),
        lambda cell: replace(cell, input=replace(cell.input, seed=1)),
        lambda cell: replace(cell, input=replace(cell.input, knows=Defence())),
        lambda cell: replace(cell, sender=replace(cell.sender, guard=Guard("always", Defence(weight=0.3)))),
        lambda cell: replace(cell, subject=replace(cell.subject, id="00" * 8)),
    ],
)
def test_other_settings_are_another_cell(subject, samples, tmp_path, changed):
    cell, store = Cell(subject, NOISE, ALWAYS), Store(tmp_path, fingerprint(samples))
    one = np.ones(4, dtype=np.int64)
    store.keep(cell, MeasuredCell(one, one > 0, np.full(4, "plain"), one))
    assert store.cell(cell) is not None
    assert store.cell(changed(cell)) is None
    assert store.cell(replace(cell, subject=replace(subject, where="elsewhere"))) is not None
    assert Store(tmp_path, fingerprint(samples[:3])).cell(cell) is None


def test_a_digest_depends_on_each_part():
    assert digest("a", 1) == digest("a", 1)
    assert len({digest("a", 1), digest("a", 2), digest("b", 1), digest(["a", 1])}) == 4


def test_damaged_files_are_errors_that_name_them(subject, samples, tmp_path):
    cell, store = Cell(subject, NOISE, Treatment()), Store(tmp_path, fingerprint(samples))
    opened(tmp_path, samples).measure([cell])
    (file,) = (tmp_path / "cells").iterdir()
    assert json.loads(file.read_text())["cell"]["input"]["name"] == "noise"
    file.write_text("{")
    with pytest.raises(CampaignError, match=r"not a finished cell .*delete it"):
        store.cell(cell)
    (frames,) = (tmp_path / "frames").iterdir()
    frames.write_bytes(b"x")
    with pytest.raises(CampaignError, match="not attacked frames"):
        store.frames(subject, NOISE, slice(0, 4))


def test_an_unknown_threat_is_named(subject, samples, tmp_path):
    unknown = Input("attack", "magic", 8, "unmasked", 1, 1)
    with pytest.raises(CampaignError, match=r"no threat 'magic'.*pgd_e"):
        opened(tmp_path, samples).measure([Cell(subject, unknown, Treatment())])


@pytest.mark.slow
def test_processes_measure_the_same(subject, samples, tmp_path):
    here = opened(tmp_path / "a", samples).measure(cells_of(subject))
    there = opened(tmp_path / "b", samples, in_processes(2)).measure(cells_of(subject))
    for cell, measured in here.items():
        assert all(np.array_equal(a, b) for a, b in _pairs(measured, there[cell]))


def test_processes_return_every_task_once():
    found = list(in_processes(2)(abs, iter([-3, 1, -2, 0, 5])))
    assert sorted(found) == [(-3, 3), (-2, 2), (0, 0), (1, 1), (5, 5)]


class FakeRay:
    """What we use of Ray: a task runs when it is waited for, the last one first."""

    def __init__(self):
        self.most = 0

    def init(self, address):
        if address == "nowhere":
            raise ConnectionError("nobody answers")

    def cluster_resources(self):
        return {"CPU": 2.0}

    def remote(self, function):
        return type("Remote", (), {"remote": staticmethod(lambda task: (function, task))})

    def wait(self, references, num_returns):
        self.most = max(self.most, len(references))
        return references[-1:], references[:-1]

    def get(self, reference):
        function, task = reference
        return function(task)


def test_ray_is_given_a_few_tasks_at_a_time_and_returns_each_once(monkeypatch):
    ray = FakeRay()
    monkeypatch.setitem(__import__("sys").modules, "ray", ray)
    found = list(on_ray("local")(abs, iter(range(-9, 0))))
    assert sorted(found) == [(n, -n) for n in range(-9, 0)]
    assert ray.most == 4
    with pytest.raises(BenchError, match="Ray at nowhere: nobody answers"):
        on_ray("nowhere")


def test_missing_ray_is_named_with_its_cure(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(MissingPackage, match=r"pip install 'ratehold\[ray\]'"):
        on_ray("auto")
