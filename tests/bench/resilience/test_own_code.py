"""A caller's own threats, filters and corruptions: named as typed, checked, listed in --help."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from bench import attacks
from bench.common.errors import CampaignError
from bench.resilience import plans
from bench.resilience.__main__ import main as resilience
from bench.resilience.catalogue import corruptions, trivial_defences
from export import references
from export.errors import ExtensionError
from export.robust.corruptions import CORRUPTIONS
from runtime.guard import Guard
from runtime.guard.defence import Defence

CODE = '''
import numpy as np
import torch

def clipped(images, change):
    return (images + change).clamp(0, 1)

def fine(target, images, labels, eps, **how):
    """A fine attack."""
    return clipped(images, eps)

def far(target, images, labels, eps, **how):
    return clipped(images, 2 * eps)

def far_l2(target, images, labels, eps, **how):
    return clipped(images, 2 * eps)

def near_l2(target, images, labels, eps, **how):
    change = torch.zeros_like(images)
    change[:, :, 0, 0] = 3 * eps
    return clipped(images, change)

def small(target, images, labels, eps, **how):
    return images[:, :, 1:]

def double(target, images, labels, eps, **how):
    return images.double()

def array(target, images, labels, eps, **how):
    return images.numpy()

def outside(target, images, labels, eps, **how):
    return images + eps

def nothing(target, images, labels, eps, **how):
    return images * float("nan")

def adaptive_one(target, images, labels, eps, **how):
    return images

def short(images, eps):
    return images

def same(image):
    """The frame as it is."""
    return image

def wide(image):
    return np.zeros((3, 3, 3), np.uint8)

def real(image):
    return image / 2

def listed(image):
    return image.tolist()

def dark(image, severity, seed):
    """Darker."""
    return image // severity
'''


@pytest.fixture(autouse=True)
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The module ``own_attacks`` and an installed package with entry points to it."""
    (tmp_path / "own_attacks.py").write_text(CODE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "own_attacks", raising=False)
    points = {
        "ratehold.threats": [("theirs", "own_attacks:fine"), ("noise", "own_attacks:far")],
        "ratehold.filters": [("their-filter", "own_attacks:same")],
        "ratehold.corruptions": [("their-dark", "own_attacks:dark")],
    }
    monkeypatch.setattr(
        references,
        "entry_points",
        lambda group: [SimpleNamespace(name=name, value=value) for name, value in points.get(group, [])],
    )


def attacked(name: str, eps: float = 4 / 255) -> torch.Tensor:
    images = torch.full((2, 3, 8, 8), 0.5)
    return attacks.threat_named(name)(None, images, torch.zeros(2), eps) - images  # type: ignore[arg-type]


def test_a_threat_inside_its_ball_is_taken() -> None:
    assert float(attacked("own_attacks:fine").max()) == pytest.approx(4 / 255, abs=1e-6)
    assert float(attacked("theirs").max()) == pytest.approx(4 / 255, abs=1e-6)
    assert float(attacked("own_attacks:near_l2").max()) == pytest.approx(12 / 255, abs=1e-6)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("far", r"left its eps ball. It changed a value by 8.00/255, 4.00/255 is allowed"),
        ("far_l2", r"It changed the root mean square by 8.00/255"),
        ("nothing", r"It changed a value by nan/255"),
        ("small", r"it returned float32 \(2, 3, 7, 8\) for float32 \(2, 3, 8, 8\)"),
        ("double", r"it returned float64 \(2, 3, 8, 8\) for float32"),
        ("array", r"it returned a numpy.ndarray, not a torch.Tensor"),
        ("short", r"a threat takes \(target, images, labels, eps, \*, steps, seed, setting, restarts\)"),
    ],
)
def test_a_threat_that_breaks_the_rules_is_refused(name: str, said: str) -> None:
    with pytest.raises(ExtensionError, match=f"threat own_attacks:{name}: .*{said}"):
        attacked(f"own_attacks:{name}")


def test_values_outside_of_images_are_refused() -> None:
    with pytest.raises(ExtensionError, match=r"its values reach from 1\.200 to 1\.200, not 0 to 1"):
        attacked("own_attacks:outside", 0.7)


def test_ours_win_a_name_and_unknown_ones_are_named() -> None:
    assert attacks.known()["noise"] == "bench.attacks.noise:noise"
    assert attacks.known()["theirs"] == "own_attacks:fine"
    with pytest.raises(CampaignError, match=r"no threat 'magic': there are pgd_e, .*theirs, and module:name"):
        attacks.threat_named("magic")
    with pytest.raises(CampaignError, match=r"no filter 'magic': .*their-filter, and module:name"):
        trivial_defences.filter_named("magic")
    with pytest.raises(CampaignError, match=r"no corruption 'magic': .*their-dark, and module:name"):
        corruptions.corruption_named("magic")


def test_a_threat_named_adaptive_is_told_the_defence() -> None:
    effort = plans.Effort((4,))
    (knowing,) = effort.attacks("own_attacks:adaptive_one", (4,), guard=Guard())
    (blind,) = effort.attacks("own_attacks:fine", (4,), guard=Guard())
    assert knowing.knows == Defence() and blind.knows is None
    assert knowing.name == "own_attacks:adaptive_one" and len(knowing.code) == 12


def test_filters_and_corruptions_return_frames() -> None:
    image = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    for name in ("own_attacks:same", "their-filter"):
        assert np.array_equal(trivial_defences.filter_named(name)(image), image)
    for name in ("own_attacks:dark", "their-dark"):
        assert np.array_equal(corruptions.corruption_named(name)(image, 2, 0), image // 2)
    for name, said in (
        ("wide", r"it returned uint8 \(3, 3, 3\) for uint8 \(4, 4, 3\)"),
        ("real", r"it returned float64 \(4, 4, 3\)"),
        ("listed", "it returned a builtins.list, not a numpy.ndarray"),
    ):
        with pytest.raises(ExtensionError, match=f"filter own_attacks:{name}: {said}"):
            trivial_defences.filter_named(f"own_attacks:{name}")(image)
    with pytest.raises(ExtensionError, match=r"a filter takes \(image\)"):
        trivial_defences.filter_named("own_attacks:dark")
    with pytest.raises(ExtensionError, match=r"a corruption takes \(image, severity, seed\)"):
        corruptions.corruption_named("own_attacks:same")


def test_changed_code_is_another_cell(tmp_path: Path) -> None:
    before = plans.senders(["own_attacks:same"], ["auto"]), plans.Effort().corruptions(["their-dark"], [1])
    (tmp_path / "own_attacks.py").write_text(CODE + "\n# changed\n")
    after = plans.senders(["own_attacks:same"], ["auto"]), plans.Effort().corruptions(["their-dark"], [1])
    assert before[0] != after[0] and before[1] != after[1]
    assert before[0][0].name == "own_attacks:same"


def test_a_wrong_filter_is_said_before_the_attacks(
    tiny_bundles: dict[str, Path], data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--data", str(data), "--bundle", str(tiny_bundles["fp"]), "--output", str(tmp_path / "out")]
    assert resilience([*arguments, "--threat", "noise", "--defence", "own_attacks:wide"]) != 0
    assert "filter own_attacks:wide: it returned uint8 (3, 3, 3)" in capsys.readouterr().err
    assert not list((tmp_path / "out" / "frames").iterdir())
    assert resilience([*arguments, "--threat", "own_attacks:gone", "--eps", "4"]) != 0
    assert "own_attacks has no 'gone'" in capsys.readouterr().err
    for option in ("--threat", "--defence", "--corruption"):
        assert resilience([*arguments, "--threat", "noise", option, "no_such_module:x"]) != 0
        assert "no module 'no_such_module'" in capsys.readouterr().err
    assert not list((tmp_path / "out" / "frames").iterdir())


def test_help_lists_everything_with_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        resilience(["--help"])
    assert stopped.value.code == 0
    listed = {}
    for line in capsys.readouterr().out.splitlines():
        name, _, text = line.strip().partition("  ")
        listed[name] = text.strip()
    for name in (*attacks.THREATS, "theirs", *CORRUPTIONS, "their-dark", "none", "ours", "their-filter"):
        assert listed[name], name
    assert listed["theirs"] == "A fine attack." and listed["their-dark"] == "Darker."
    prefixes = {name.split("-")[0] for name in trivial_defences.TRIVIAL}
    assert prefixes <= {name.split("-")[0] for name in listed}


def test_help_does_not_import_torch() -> None:
    code = (
        "import sys\nfrom bench.resilience.__main__ import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\nassert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
