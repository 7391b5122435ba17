"""Encoders that turn a photograph into a unit vector, and the cosine above which two photographs match.

tinyface, tinyface-wide   trained once a machine on the shipped faces: see tinyface.py
siglip:DIR                the vision half of a SigLIP model in a local folder, through transformers (optional dependency
                          `siglip`); nothing is downloaded

An encoder's parameters are frozen; gradients flow through it to the photograph.
Shapes: B photographs, N faces, 3 RGB, H, W pixels, S the side that an encoder takes, E features. Photographs are in
[0, 1].
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hpo import derive, example_hash, generator, made_once
from objectives.cloak import data, tinyface
from objectives.common.colour import luma

TINY = {"tinyface": 16, "tinyface-wide": 24}  # width by name; the seed is derived from the name
STEPS = 250
FALSE_ACCEPTS = 0.01  # share of the pairs of different people that reach the matching threshold
VIEWS = 4  # varied pictures of each face that the threshold is measured on


@dataclass(frozen=True)
class Calibration:
    """An encoder's matching threshold, and how well it recognises the 60 faces that critics learn from."""

    match_threshold: float  # cosine that FALSE_ACCEPTS of the pairs of different people reach
    first: float  # share of varied pictures whose nearest face is their own
    accepted: float  # share of varied pictures that match their own face


class Critic(nn.Module):
    """Any encoder behind one interface: photographs of any size in, unit vectors out, with a gradient throughout."""

    def __init__(self, name: str, encoder: nn.Module, image_size: int) -> None:
        super().__init__()
        self.name, self.image_size = name, image_size
        self.encoder = encoder.requires_grad_(False).eval()
        self.digest = example_hash(self.state_dict().values())  # of the parameters as they were loaded

    def embed(self, photo_B3HW: Tensor) -> Tensor:
        """Unit vectors [B, E], float32."""
        with torch.autocast(photo_B3HW.device.type, enabled=False):
            return F.normalize(self.encoder(resize_for_encoder(photo_B3HW.float(), self.image_size)).float(), dim=1)

    def untouched(self) -> bool:
        """Whether the parameters are as they were loaded, and have no gradient."""
        frozen = all(not parameter.requires_grad and parameter.grad is None for parameter in self.parameters())
        return frozen and example_hash(self.state_dict().values()) == self.digest

    def train(self, mode: bool = True) -> Critic:
        """Stays in eval mode, whatever `mode` is."""
        return super().train(False)


class Grey(nn.Module):
    """`tinyface`, which sees only the brightness of a photograph."""

    def __init__(self, net: tinyface.TinyFace) -> None:
        super().__init__()
        self.net = net

    def forward(self, photo_B3SS: Tensor) -> Tensor:
        features_BE: Tensor = self.net(luma(photo_B3SS))
        return features_BE


class Pooled(nn.Module):
    """The pooled output of a SigLIP vision model, with its own scaling to [-1, 1]."""

    def __init__(self, vision: nn.Module) -> None:
        super().__init__()
        self.vision = vision

    def forward(self, photo_B3SS: Tensor) -> Tensor:
        features_BE: Tensor = self.vision(pixel_values=(photo_B3SS - 0.5) / 0.5).pooler_output
        return features_BE


def critic(name: str, device: torch.device | str = "cpu") -> Critic:
    """The encoder of that name, loaded once a process.

    Raises ValueError for an unknown name, or a folder without a model.
    """
    return _critic(check_name(name), str(device))


def calibration(name: str) -> Calibration:
    """The encoder's matching threshold and how well it recognises; measured once a machine."""
    return _calibration(check_name(name))


def check_name(name: str) -> str:
    """The name itself. Raises ValueError where there is no encoder of that name."""
    kind, _, folder = name.partition(":")
    if name in TINY or (kind == "siglip" and folder):
        return name
    raise ValueError(f"a critic must be {', '.join(TINY)} or siglip:DIR; got {name!r}")


def resize_for_encoder(photo_B3HW: Tensor, side: int) -> Tensor:
    """The photographs at the encoder's size, squeezed to a square: bilinear, antialiased where that more than halves
    them."""
    if photo_B3HW.shape[-2:] == (side, side):
        return photo_B3HW
    shrinks = max(photo_B3HW.shape[-2:]) > 2 * side
    return F.interpolate(photo_B3HW, (side, side), mode="bilinear", align_corners=False, antialias=shrinks)


def encoder_identity(name: str) -> str:
    """Equal for names of one and the same encoder, and different for different encoders."""
    kind, _, folder = name.partition(":")
    return f"siglip {_fingerprint(Path(folder).resolve())}" if kind == "siglip" else f"tinyface {TINY[name]}"


def make_tinyface(width: int, seed: int, steps: int) -> dict[str, np.ndarray]:
    """The trained weights of a `tinyface`, by name."""
    faces_N1SS = data.faces()[list(data.CRITICS_LEARN_FROM)]
    net = tinyface.train(faces_N1SS, width=width, seed=seed, steps=steps)
    return {key: value.numpy() for key, value in net.state_dict().items()}


def make_calibration(name: str, identity: str) -> dict[str, float]:
    """The fields of an encoder's Calibration.

    `identity` is only a part of the cache's key: with another model in the same folder it is measured again.
    """
    del identity
    known_N1SS = F.interpolate(data.faces()[list(data.CRITICS_LEARN_FROM)], (96, 96), mode="bicubic").clamp(0, 1)
    rng = generator("cloak", "calibration")
    count = len(known_N1SS)
    encoder = critic(name, "cuda" if torch.cuda.is_available() else "cpu")
    known_NE = _embed_faces(encoder, known_N1SS)
    cosines = torch.cat([_embed_faces(encoder, tinyface.vary(known_N1SS, rng)) @ known_NE.T for _ in range(VIEWS)])
    faces = torch.arange(count).repeat(VIEWS)  # which face each row is a picture of
    own_cosines = cosines[torch.arange(len(faces)), faces]
    other_cosines = cosines[F.one_hot(faces, count) == 0]
    threshold = float(other_cosines.quantile(1 - FALSE_ACCEPTS))
    return {
        "match_threshold": threshold,
        "first": float((cosines.argmax(1) == faces).float().mean()),
        "accepted": float((own_cosines >= threshold).float().mean()),
    }


@cache
def _critic(name: str, device: str) -> Critic:
    kind, _, folder = name.partition(":")
    with torch.random.fork_rng(devices=[]):  # a run must not depend on whether its critic was loaded before
        encoder = _siglip(name, Path(folder)) if kind == "siglip" else _tinyface(name)
        return encoder.to(device)


@cache
def _calibration(name: str) -> Calibration:
    return Calibration(**made_once(make_calibration, name, encoder_identity(name)))


def _tinyface(name: str) -> Critic:
    weights = made_once(make_tinyface, TINY[name], derive("cloak", name), STEPS)
    net = tinyface.TinyFace(TINY[name])
    net.load_state_dict({key: torch.from_numpy(np.array(value)) for key, value in weights.items()})
    return Critic(name, Grey(net), tinyface.SIDE)


def _siglip(name: str, folder: Path) -> Critic:
    if not (folder / "config.json").is_file():
        raise ValueError(
            f"{name}: {folder} must be a folder with a SigLIP model (config.json, model.safetensors); "
            f"{'there is no config.json in it' if folder.is_dir() else 'it is not a folder'}"
        )
    os.environ.setdefault("HF_HUB_OFFLINE", "1")  # read when transformers is imported; the folder is all there is
    try:
        from transformers import SiglipVisionModel, logging
    except ImportError as error:
        raise ValueError(f"{name}: needs the package transformers: pip install 'hpo[siglip]' ({error})") from error
    logging.set_verbosity_error()  # otherwise it lists every weight of the text half, which is not loaded
    vision, report = SiglipVisionModel.from_pretrained(
        folder, local_files_only=True, dtype=torch.float32, output_loading_info=True
    )
    if report["missing_keys"]:
        raise ValueError(
            f"{name}: {folder} must hold a whole SigLIP vision model; missing: "
            f"{', '.join(sorted(report['missing_keys'])[:3])}"
        )
    return Critic(name, Pooled(vision), vision.config.image_size)


@torch.no_grad()
def _embed_faces(encoder: Critic, grey_N1SS: Tensor) -> Tensor:
    device = next(encoder.parameters()).device
    parts = [encoder.embed(grey_B1SS.expand(-1, 3, -1, -1).to(device)) for grey_B1SS in grey_N1SS.split(8)]
    return torch.cat(parts).cpu()


def _fingerprint(folder: Path) -> str:
    """Of the names, sizes and times of a model's files: hashing gigabytes at every start would take too long."""
    paths = sorted(folder.iterdir()) if folder.is_dir() else []
    listing = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in paths]
    return f"{derive(repr(listing)):x}"
