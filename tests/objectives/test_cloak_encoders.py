"""Critics: what they take, what they give, and when two photographs match.

Expected values come from closed forms, from transformers' own model, and from planted faults; each test says which.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from hpo import generator
from objectives.cloak import data, encoders, siglip, tinyface
from objectives.common.colour import as_float

REPOSITORY = Path(__file__).parents[2]
NO_POINTS = torch.zeros(2, 5, 2)
SHAPES = [(96, 96), (512, 512), (480, 640), (384, 384)]


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch) -> None:
    monkeypatch.setenv("HPO_CACHE", str(tmp_path_factory.getbasetemp() / "hpo-cache"))


class Vision(nn.Module):
    """In the place of a SigLIP model: remembers what it was given, and pools it."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[torch.Tensor] = []
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, pixel_values: torch.Tensor) -> SimpleNamespace:
        self.seen.append(pixel_values)
        if tuple(pixel_values.shape[-2:]) != (384, 384):
            raise ValueError(f"Input image size {tuple(pixel_values.shape[-2:])} does not match the model (384*384)")
        return SimpleNamespace(pooler_output=self.scale * pixel_values.mean((-2, -1)))


# -- size, scale, direction ----------------------------------------------------------------------------------------
@pytest.mark.parametrize("shape", SHAPES)
def test_an_encoder_is_always_given_its_own_size_scaled_to_plus_minus_one(shape: tuple[int, int]) -> None:
    """Spy: what the model itself receives. Closed form: 0.5 is 0 and white is 1."""
    vision = Vision()
    critic = encoders.Critic("siglip:x", siglip.Pooled(vision), encoders.whole_photograph(384))
    white = torch.ones(2, 3, *shape)
    unit = critic.embed(white, NO_POINTS)
    assert vision.seen[0].shape == (2, 3, 384, 384)
    assert torch.allclose(vision.seen[0], torch.ones(()), atol=1e-5)
    assert unit.norm(dim=1).tolist() == pytest.approx([1, 1])


def test_gradients_reach_the_photograph_through_the_resizing_and_never_the_encoder() -> None:
    vision = Vision()
    photo = torch.rand(1, 3, 96, 96, requires_grad=True)
    critic = encoders.Critic("siglip:x", siglip.Pooled(vision), encoders.whole_photograph(384))
    critic.embed(photo, NO_POINTS[:1])[0, 0].backward()
    assert photo.grad.abs().sum() > 0
    assert vision.scale.grad is None
    assert not vision.scale.requires_grad


def test_shrinking_by_more_than_two_is_antialiased() -> None:
    """Planted: stripes a pixel wide must turn grey (5/9 and 4/9 under a triangle of 3 pixels); plain bilinear sampling
    makes new stripes of them."""
    stripes = (torch.arange(96) % 2).float().expand(1, 3, 96, 96)
    assert encoders.resize_for_encoder(stripes, 32)[0, 0, 16, 8:24].sub(0.5).abs().tolist() == pytest.approx(
        [1 / 18] * 16
    )
    assert torch.nn.functional.interpolate(stripes, (32, 32), mode="bilinear").std() > 0.3


def test_a_critic_stays_in_eval_mode() -> None:
    critic = encoders.Critic("x", nn.Dropout(0.5), encoders.whole_photograph(8))
    critic.train()
    assert not critic.encoder.training


# -- tinyface ------------------------------------------------------------------------------------------------------
def _small(seed: int = 0, steps: int = 40) -> tinyface.TinyFace:
    return tinyface.train(data.faces()[:20], width=6, seed=seed, steps=steps)


def test_light_and_contrast_are_taken_out() -> None:
    """Closed form: standardising undoes a gain and an offset."""
    net = _small(steps=1)
    face = data.faces()[:2].clamp(0.1, 0.9)
    face = torch.nn.functional.interpolate(face, (32, 32))
    assert torch.allclose(net(face), net(0.5 * face + 0.2), atol=1e-4)


def test_training_is_repeatable_and_leaves_the_callers_random_numbers_alone() -> None:
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    with torch.no_grad():  # as inside a score
        first, repeated, other = _small(1, 5), _small(1, 5), _small(2, 5)
    assert torch.rand(1) == expected
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), repeated.parameters(), strict=True))
    assert not torch.equal(first.last.weight, other.last.weight)


def test_loading_a_critic_leaves_the_callers_random_numbers_alone(monkeypatch) -> None:
    """A run that is resumed loads its critics in a later epoch, and must draw the same numbers there."""
    monkeypatch.setattr(encoders, "TINY", {"fresh": 4})
    monkeypatch.setattr(encoders, "STEPS", 1)
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    encoders.critic("fresh")
    assert torch.rand(1) == expected


def _critic_hash(root: Path, cache: Path) -> str:
    """Hash of the weights of a tiny critic, made by the code in a folder, or by the cache."""
    script = (
        "import hashlib\n"
        "from hpo import made_once\n"
        "from objectives.cloak import encoders\n"
        "weights = made_once(encoders.make_tinyface, 4, 1, 1)\n"
        "print(hashlib.sha256(b''.join(weights[name].tobytes() for name in sorted(weights))).hexdigest())\n"
    )
    path = os.pathsep.join([str(root), str(REPOSITORY)])
    environment = {**os.environ, "PYTHONPATH": path, "HPO_CACHE": str(cache), "OMP_NUM_THREADS": "1"}
    ran = subprocess.run(
        [sys.executable, "-c", script], cwd=root, env=environment, capture_output=True, text=True, check=True
    )
    return ran.stdout.strip()


@pytest.mark.slow
def test_an_edited_constant_in_another_file_trains_the_critic_anew_and_a_comment_does_not(tmp_path: Path) -> None:
    """Pitfall: a cache that knows the encoder's own file alone goes on with a critic that learned from other faces."""
    root, cache = tmp_path / "code", tmp_path / "cache"
    shutil.copytree(REPOSITORY / "objectives", root / "objectives", ignore=shutil.ignore_patterns("__pycache__"))
    edited = root / "objectives" / "cloak" / "data.py"
    source = edited.read_text()
    before = _critic_hash(root, cache)
    made = {path for path in cache.rglob("*.pkl")}
    edited.write_text(f"# a comment\n{source}")
    assert _critic_hash(root, cache) == before
    assert {path for path in cache.rglob("*.pkl")} == made
    assert source.count("CRITICS_LEARN_FROM = range(60)") == 1
    edited.write_text(source.replace("CRITICS_LEARN_FROM = range(60)", "CRITICS_LEARN_FROM = range(30)"))
    assert _critic_hash(root, cache) != before


def test_it_learns_to_tell_its_faces_apart_and_strangers_too(monkeypatch) -> None:
    """The gate that preflight holds the shipped critics to, for a narrower one: 95 % found and accepted at 1 % false
    accepts; and on the faces to be protected, which it has not learned, 90 % found."""
    monkeypatch.setattr(encoders, "TINY", {"gate": 12})
    monkeypatch.setattr(encoders, "STEPS", 160)
    known = encoders.calibration("gate")
    assert known.first >= 0.95
    assert known.accepted >= 0.95
    assert 0.2 < known.match_threshold < 0.7
    strangers = as_float(data.load_shipped("val", 96, 20).rgb_N3SS)
    critic = encoders.critic("gate")
    points = torch.zeros(20, 5, 2)
    varied = tinyface.vary(strangers, generator("view"))
    cosines = critic.embed(varied, points) @ critic.embed(strangers, points).T
    assert (cosines.argmax(1) == torch.arange(20)).float().mean() >= 0.9


def test_the_threshold_lets_one_pair_in_a_hundred_pass(monkeypatch) -> None:
    """By definition, counted by hand over an encoder that is not a network at all."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 5))
    planted = encoders.Critic("planted", net, encoders.whole_photograph(8))
    monkeypatch.setattr(encoders, "critic", lambda name, device: planted)
    calibration = encoders.make_calibration("planted", "")
    rng = generator("cloak", "calibration")
    faces = torch.nn.functional.interpolate(data.faces()[:60], (96, 96), mode="bicubic").clamp(0, 1)
    embed = lambda x: planted.embed(x.expand(-1, 3, -1, -1), NO_POINTS).detach()  # noqa: E731
    views = [embed(tinyface.vary(faces, rng)) @ embed(faces).T for _ in range(encoders.VIEWS)]
    strangers = torch.cat([view[~torch.eye(60, dtype=torch.bool)] for view in views])
    assert (strangers >= calibration["match_threshold"]).float().mean().item() == pytest.approx(0.01, abs=1e-3)


def test_two_names_of_one_encoder_are_one_encoder() -> None:
    assert encoders.encoder_identity("tinyface") != encoders.encoder_identity("tinyface-wide")
    assert encoders.encoder_identity("tinyface") == encoders.encoder_identity("tinyface")


# -- SigLIP --------------------------------------------------------------------------------------------------------
def test_a_folder_without_a_model_and_a_name_of_the_hub_are_refused(tmp_path) -> None:
    with pytest.raises(ValueError, match=r"there is no config.json in it"):
        encoders.critic(f"siglip:{tmp_path}")
    with pytest.raises(ValueError, match="it is not a folder"):
        encoders.critic("siglip:google/siglip-so400m-patch14-384")


def test_without_transformers_the_error_says_what_to_install(tmp_path, monkeypatch) -> None:
    import sys

    (tmp_path / "config.json").write_text(json.dumps({}))
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ValueError, match=r"pip install 'hpo\[siglip\]'"):
        encoders.critic(f"siglip:{tmp_path}")


@pytest.fixture
def siglip_folder(tmp_path):
    """A SigLIP model of two layers with random weights at 384 pixels, text half and all, as a hub folder holds one."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    vision = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 384,
        "patch_size": 32,
    }
    text = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "vocab_size": 50,
        "max_position_embeddings": 8,
    }
    model = transformers.SiglipModel(transformers.SiglipConfig(vision_config=vision, text_config=text)).eval()
    model.save_pretrained(tmp_path)
    return tmp_path, model


def test_a_siglip_folder_gives_what_transformers_gives(siglip_folder) -> None:
    """Judge: transformers' own get_image_features on the same pixels."""
    folder, model = siglip_folder
    critic = encoders.critic(f"siglip:{folder}")
    photo = torch.rand(1, 3, 384, 384, generator=generator("photo"))
    with torch.no_grad():
        theirs = model.get_image_features(pixel_values=(photo - 0.5) / 0.5)
    theirs = getattr(theirs, "pooler_output", theirs)
    assert torch.allclose(critic.embed(photo, NO_POINTS[:1]), nn.functional.normalize(theirs, dim=1), atol=1e-5)


def test_a_siglip_folder_with_weights_missing_is_refused_rather_than_filled_at_random(siglip_folder) -> None:
    """Planted: one matrix is taken out of the file. transformers would warn and draw new numbers."""
    safetensors = pytest.importorskip("safetensors.torch")
    folder, _ = siglip_folder
    weights = safetensors.load_file(folder / "model.safetensors")
    lost = next(name for name in weights if "vision_model" in name and name.endswith("fc1.weight"))
    weights.pop(lost)
    safetensors.save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match=r"must hold a whole SigLIP vision model; missing: .*fc1.weight"):
        encoders.critic(f"siglip:{folder}")


@pytest.mark.parametrize("shape", SHAPES)
def test_a_real_siglip_takes_photographs_of_any_size(siglip_folder, shape: tuple[int, int]) -> None:
    """Spy on the vision model. Without the resizing it raises at any other size than 384."""
    folder, _ = siglip_folder
    critic = encoders.critic(f"siglip:{folder}")
    seen = []
    critic.encoder.vision.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(kwargs["pixel_values"].shape), with_kwargs=True
    )
    photo = torch.rand(1, 3, *shape, requires_grad=True)
    critic.embed(photo, NO_POINTS[:1])[0, 0].backward()
    assert seen == [(1, 3, 384, 384)]
    assert photo.grad.abs().sum() > 0
    assert critic.untouched()
