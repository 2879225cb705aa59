"""From a folder of photographs and a user's own classifier to bundles that code and decode, by command."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from export.__main__ import main
from export.build import keep_or_write
from export.calibrate.backbones import from_factory
from export.calibrate.calibration import load_or_calibrate
from export.calibrate.finetune import finetune, load_transform, refined
from export.calibrate.images import photographs_of, squares
from export.calibrate.transform import RefinedInverse, Transform, transform_at
from export.graphs.torch_to_onnx import compare
from export.plans import FinetunePlan
from export.tasks.classification import ClassDivergence
from runtime.bundle import load
from runtime.errors import BundleError, ImageError
from runtime.head import Head
from runtime.pictures import read_image
from runtime.preprocess import Preprocess
from runtime.tail import Tail
from runtime.tasks import Output
from tests.export.models import OWN
from tests.tiny_bundle import tiny_images


@pytest.mark.parametrize("prior", ["fp", "mshp"])
def test_built_bundles_code_and_decode(prior: str, built: Path) -> None:
    bundle = load(built / f"classifier-{prior}-r2")
    head, tail = Head(bundle), Tail(bundle)
    for image in tiny_images(10, seed=9):
        logits = tail.decode(head.encode(image).to_bytes())
        assert logits.shape == (10,)
    quantiles = [bits for _, bits in bundle.manifest.clean_bits]
    assert quantiles == sorted(quantiles) and quantiles[0] > 0
    assert bundle.manifest.budget == max(head.least, math.ceil(bundle.manifest.clean_quantile(0.5) / 8) + 20)
    assert bundle.manifest.provenance["weights"] == "tests.export.models:classifier"
    assert bundle.manifest.outputs == (Output("logits", (10,)),) and bundle.labels() is None


def test_bundles_get_the_budget_of_their_clean_frames_by_command(built: Path, tmp_path: Path) -> None:
    """As they were built with it; files and all else stay."""
    assert main(["budget", "--bundle", str(built / "classifier-fp-r2"), "-o", str(tmp_path)]) == 0
    for prior in ("fp", "mshp"):
        before, after = (load(folder / f"classifier-{prior}-r2").manifest for folder in (built, tmp_path))
        assert after.budget == before.budget and after.files == before.files
        assert "export budget" in after.provenance["budget"]["command"]


def test_priors_share_restore_and_tail(built: Path) -> None:
    fp, mshp = (load(built / f"classifier-{prior}-r2") for prior in ("fp", "mshp"))
    for role in ("restore", "tail"):
        assert fp.path(role).resolve() == mshp.path(role).resolve()


def test_shared_graphs_are_kept_while_they_fit_and_get_another_name_when_not(tmp_path: Path) -> None:
    torch.manual_seed(0)
    first, second, wider = (torch.nn.Conv2d(3, 4, 1), torch.nn.Conv2d(3, 4, 1), torch.nn.Conv2d(3, 5, 1))
    example, path = torch.rand(1, 3, 4, 4), tmp_path / "tail.onnx"
    keep_or_write(first, example, path, "features", "logits")
    written = path.stat().st_mtime_ns
    keep_or_write(first, example, path, "features", "logits")
    assert path.stat().st_mtime_ns == written
    for module, features in ((second, example), (wider, example), (second, torch.rand(1, 3, 5, 5))):
        other = keep_or_write(module, features, path, "features", "logits")
        assert other != path and other == keep_or_write(module, features, path, "features", "logits")
        compare(module, features, other)
    assert path.stat().st_mtime_ns == written
    compare(first, example, path)


def test_split_and_coded_network_agrees_with_the_whole(built: Path) -> None:
    whole = from_factory("tests.export.models:classifier", "features", 32)
    bundle = load(built / "classifier-fp-r2")
    head, tail = Head(bundle), Tail(bundle)
    divergence = []
    for image in tiny_images(40, seed=11):
        x = torch.from_numpy(bundle.manifest.preprocess(image))
        with torch.no_grad():
            expected = torch.log_softmax(whole.tail(whole.head(x))[0], 0)
        coded = torch.log_softmax(torch.from_numpy(tail.decode(head.encode(image).to_bytes())), 0)
        divergence.append(float((expected.exp() * (expected - coded)).sum()))
    # Rate 2 aims at 0.066 nats to second order, on the photographs that it was calibrated on.
    assert 0 < np.mean(divergence) < 0.2


def test_calibration_is_kept_and_used_again(
    built: Path, photographs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--data", str(photographs), "-o", str(built), "--threads", "1"]
    assert main(["calibrate", *OWN, *arguments]) == 0
    output = capsys.readouterr()
    assert "calibration from" in output.err
    rows = [line.split() for line in output.out.splitlines()[1:]]
    assert [int(row[0]) for row in rows] == [1, 2, 3, 4]
    sizes = [float(row[3]) for row in rows]
    assert sizes == sorted(sizes, reverse=True)


def test_finetune_resumes_where_it_stopped(built: Path, photographs: Path, tmp_path: Path) -> None:
    backbone = from_factory("tests.export.models:classifier", "features", 32)
    paths = photographs_of(photographs, 32)
    calibrated = load_or_calibrate(backbone, paths, photographs, built / "calibration.pt", 2)

    plan = FinetunePlan(steps=8, batch=8, save_every=2, prior_steps=5)

    def tuned(checkpoint: Path, tail: torch.nn.Module) -> torch.Tensor:
        transform = transform_at(calibrated.calibration, calibrated.features, 0.05)
        return finetune(
            transform, calibrated.features, tail, ClassDivergence(), plan, checkpoint
        ).analysis.weight

    class Interrupted(torch.nn.Module):
        """The tail, until somebody presses Ctrl-C in the sixth step."""

        calls = 0

        def forward(self, features: torch.Tensor) -> torch.Tensor:
            self.calls += 1
            if self.calls > 10:
                raise KeyboardInterrupt
            return backbone.tail(features)

    whole = tuned(tmp_path / "whole.pt", backbone.tail)
    with pytest.raises(KeyboardInterrupt):
        tuned(tmp_path / "parts.pt", Interrupted())
    assert torch.load(tmp_path / "parts.pt", weights_only=True)["step"] == 4
    assert torch.allclose(whole, tuned(tmp_path / "parts.pt", backbone.tail), atol=1e-7)
    untuned = transform_at(calibrated.calibration, calibrated.features, 0.05).analysis.weight
    assert not torch.allclose(whole, untuned, atol=1e-6)


def test_the_residual_network_starts_as_nothing_is_trained_and_comes_back(
    built: Path, photographs: Path, tmp_path: Path
) -> None:
    backbone = from_factory("tests.export.models:classifier", "features", 32)
    paths = photographs_of(photographs, 32)
    calibrated = load_or_calibrate(backbone, paths, photographs, built / "calibration.pt", 2)

    def calibrated_transform() -> Transform:
        return transform_at(calibrated.calibration, calibrated.features, 0.05)

    plain = calibrated_transform()
    y_hat = torch.round(plain.analysis(calibrated.features[:4]))
    untrained = refined(plain, calibrated.features.std((0, 2, 3)))
    assert torch.equal(untrained.restore(y_hat), plain.restore(y_hat))
    plan = FinetunePlan(steps=4, batch=8, save_every=4, prior_steps=5, coarse=1.0)
    tuned = finetune(
        plain, calibrated.features, backbone.tail, ClassDivergence(), plan, tmp_path / "tuned.pt"
    )
    assert isinstance(tuned.restore, RefinedInverse)
    assert tuned.restore.narrow.weight.abs().max() > 1e-4
    assert not torch.equal(tuned.restore(y_hat), tuned.restore.inverse(y_hat))
    loaded = load_transform(tmp_path / "tuned.pt", calibrated_transform())
    assert torch.equal(loaded.restore(y_hat), tuned.restore(y_hat))


def test_weights_of_an_older_version_are_refused(built: Path, photographs: Path, tmp_path: Path) -> None:
    backbone = from_factory("tests.export.models:classifier", "features", 32)
    paths = photographs_of(photographs, 32)
    calibrated = load_or_calibrate(backbone, paths, photographs, built / "calibration.pt", 2)
    transform = transform_at(calibrated.calibration, calibrated.features, 0.05)
    old = {"student": {}, "step_size": transform.step, "channels": transform.analysis.out_channels}
    torch.save(old, tmp_path / "old.pt")
    with pytest.raises(BundleError, match="older version; tune it again"):
        load_transform(tmp_path / "old.pt", transform)


def test_a_tuned_transform_can_be_built(
    built: Path, photographs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [*OWN, "--data", str(photographs), "-o", str(built), "--threads", "1", "--rate", "3"]
    assert main(["finetune", *arguments, "--steps", "4"]) == 0
    checkpoint = capsys.readouterr().out.strip()
    assert main(["build", *arguments, "--prior", "fp", "--transform", checkpoint]) == 0
    load(built / "classifier-fp-r3")
    wrong = [*arguments[:-1], "4", "--prior", "fp", "--transform", checkpoint]
    assert main(["build", *wrong]) == 1
    assert "another rate" in capsys.readouterr().err


def test_views_are_deterministic_and_plain_first(photographs: Path) -> None:
    paths = photographs_of(photographs, 32)
    assert len(paths) == 60  # the small one is left out
    prepare = Preprocess(32, 1.0)
    first, again = (list(squares(paths[:3], prepare, 3)) for _ in range(2))
    assert len(first) == 9 and all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert np.array_equal(first[3], prepare.square(read_image(paths[1])))


def test_mistakes_are_one_clear_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ImageError, match="no images"):
        photographs_of(tmp_path, 32)
    assert main(["calibrate", "--data", str(tmp_path), "-o", str(tmp_path), "--backbone", "x:y"]) == 1
    assert "--cut MODULE" in capsys.readouterr().err
    assert main(["calibrate", "--photos", str(tmp_path), "-o", str(tmp_path), "--cut", "layer2"]) == 1
    assert "number of a block, not 'layer2'" in capsys.readouterr().err
