"""Networks that calibration cannot use are refused at once, and the error names the cause."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from export import __main__ as commands
from export.calibrate import calibration
from export.calibrate.calibration import Calibrated, check_answers_vary, step_for_loss
from export.calibrate.fisher import calibrate
from export.errors import CalibrationError
from export.tasks.classification import LADDER, ClassDivergence
from tests.export.models import OWN


class Weak(nn.Module):
    """As random weights are: features of any kind, answers that are nearly one."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Conv2d(3, 4, 3, stride=4)
        self.last = nn.Linear(4, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.last(0.01 * self.features(x).mean((2, 3)))
        return logits


def random_weights() -> nn.Module:
    torch.manual_seed(0)
    return Weak()


def test_random_weights_are_refused_before_the_fisher_information(
    photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(calibration, "calibrate", lambda *_: pytest.fail("the slow part was begun"))
    own = ["--backbone", f"{__name__}:random_weights", "--cut", "features", "--size", "32"]
    assert commands.main(["calibrate", *own, "--data", str(photographs), "-o", str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert "random weights" in error and "hardly depend on these photographs" in error
    assert not (tmp_path / "calibration.pt").exists()


def tail_of(scale: float) -> nn.Module:
    """Two classes, by the mean of the features."""

    class Tail(nn.Module):
        def forward(self, features: torch.Tensor) -> torch.Tensor:
            side = scale * features.mean((1, 2, 3))
            return torch.stack([side, -side], 1)

    return Tail()


@pytest.mark.parametrize(("scale", "refused"), [(0.0, True), (0.1, True), (1.0, False), (50.0, False)])
def test_what_one_answer_for_all_costs_is_the_information_of_the_answers(scale: float, refused: bool) -> None:
    # Half of the images at +1 and half at -1: ln 2 nats where the answers are sure, none where they are not.
    features = torch.ones(64, 1, 2, 2)
    features[::2] = -1
    if refused:
        with pytest.raises(CalibrationError, match=f"may cost {LADDER[1]}"):
            check_answers_vary(tail_of(scale), features, ClassDivergence())
    else:
        check_answers_vary(tail_of(scale), features, ClassDivergence())


def test_a_network_that_is_too_sure_is_told_so() -> None:
    features = torch.ones(64, 1, 2, 2)
    features[::2] = -1
    tail = tail_of(50.0)
    check_answers_vary(tail, features, ClassDivergence())
    calibrated = Calibrated(
        calibrate(features, tail, ClassDivergence(), 2), features.repeat_interleave(2, 0), 64, "made up"
    )
    with pytest.raises(CalibrationError, match="so sure of its answers"):
        step_for_loss(calibrated, LADDER[1])


def test_a_rate_that_cannot_be_had_is_named_and_the_others_stay(
    built: Path, photographs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(LADDER, 4, 1e6)
    arguments = [*OWN, "--data", str(photographs), "-o", str(built), "--threads", "1"]
    assert commands.main(["calibrate", *arguments]) == 0
    output = capsys.readouterr()
    assert [line.split()[0] for line in output.out.splitlines()[1:]] == ["1", "2", "3"]
    assert "no rate 4: sending nothing costs" in output.err
    assert commands.main(["build", *arguments, "--rate", "1", "4"]) == 1
    assert not (built / "classifier-fp-r1").exists()  # refused before the first was begun
