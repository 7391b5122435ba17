"""Critics: encoders that turn a photograph into a unit vector, and the cosine above which two of them match.

tinyface, tinyface-wide   trained once a machine on the shipped faces: see tinyface.py
siglip:DIR                the vision half of a SigLIP model in a local folder, through transformers (extra `siglip`);
                          nothing is ever fetched

A critic never learns while it criticises: its parameters are frozen, and gradients flow through it to the photograph.
Shapes: B photographs, 3 RGB, H, W pixels, S the side that an encoder takes, E features. Photographs are in [0, 1].
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

from hpo.cache import made_once
from hpo.seeds import derive, generator
from hpo.task import example_hash
from objectives.cloak import data, tinyface
from objectives.common import files
from objectives.common.colour import luma

TINY = {"tinyface": 16, "tinyface-wide": 24}  # name: width; the seed follows from the name
STEPS = 250
FALSE_ACCEPTS = 0.01  # share of pairs of different people that a threshold lets pass
VIEWS = 4  # varied pictures of each face that a threshold is found with


@dataclass(frozen=True)
class Calibration:
    """What a critic makes of the 60 faces that critics learn from."""

    match_threshold: float  # cosine that FALSE_ACCEPTS of the pairs of different people reach
    first: float  # share of varied pictures whose nearest face is their own
    accepted: float  # share of varied pictures that match their own face


class Critic(nn.Module):
    """An encoder behind one face: any photograph in, unit vectors out, the resizing included in the gradient."""

    def __init__(self, name: str, encoder: nn.Module, image_size: int) -> None:
        super().__init__()
        self.name, self.image_size = name, image_size
        self.encoder = encoder.requires_grad_(False).eval()
        self.digest = example_hash(self.state_dict().values())  # what it was when it was loaded

    def embed(self, photo_B3HW: Tensor) -> Tensor:
        """Unit vectors [B, E], float32."""
        with torch.autocast(photo_B3HW.device.type, enabled=False):
            return F.normalize(self.encoder(to_side(photo_B3HW.float(), self.image_size)).float(), dim=1)

    def untouched(self) -> bool:
        """Whether the parameters are what was loaded, and have no gradient."""
        free = all(not parameter.requires_grad and parameter.grad is None for parameter in self.parameters())
        return free and example_hash(self.state_dict().values()) == self.digest

    def train(self, mode: bool = True) -> Critic:
        return super().train(False)


class Grey(nn.Module):
    """What `tinyface` sees of a photograph: its brightness."""

    def __init__(self, net: tinyface.TinyFace) -> None:
        super().__init__()
        self.net = net

    def forward(self, photo_B3SS: Tensor) -> Tensor:
        return self.net(luma(photo_B3SS))


class Pooled(nn.Module):
    """What a SigLIP vision model makes of a photograph, with its own scaling to [-1, 1]."""

    def __init__(self, vision: nn.Module) -> None:
        super().__init__()
        self.vision = vision

    def forward(self, photo_B3SS: Tensor) -> Tensor:
        return self.vision(pixel_values=(photo_B3SS - 0.5) / 0.5).pooler_output


def critic(name: str, device: torch.device | str = "cpu") -> Critic:
    """The critic of that name, loaded once a process. Raises ValueError for an unknown name or a folder that holds no
    model."""
    return _critic(check_name(name), str(device))


def calibration(name: str) -> Calibration:
    """The critic's matching threshold and how well it recognises; made once a machine."""
    return _calibration(check_name(name))


def check_name(name: str) -> str:
    """The name, if there is such a critic. Raises ValueError."""
    kind, _, folder = name.partition(":")
    if name in TINY or (kind == "siglip" and folder):
        return name
    raise ValueError(f"a critic must be {', '.join(TINY)} or siglip:DIR; got {name!r}")


def to_side(photo_B3HW: Tensor, side: int) -> Tensor:
    """The photographs at the encoder's size, squeezed to a square: bilinear, antialiased where that halves them."""
    if photo_B3HW.shape[-2:] == (side, side):
        return photo_B3HW
    shrinks = max(photo_B3HW.shape[-2:]) > 2 * side
    return F.interpolate(photo_B3HW, (side, side), mode="bilinear", align_corners=False, antialias=shrinks)


def identity_of(name: str) -> str:
    """What makes the critic this one: critics that share it are one and the same, whatever they are called."""
    kind, _, folder = name.partition(":")
    return f"siglip {_fingerprint(Path(folder).resolve())}" if kind == "siglip" else f"tinyface {TINY[name]}"


def make_tinyface(width: int, seed: int, steps: int, source: str) -> dict[str, np.ndarray]:
    """Weights of a `tinyface`, as arrays."""
    del source  # part of the cache's key: other code, other weights
    net = tinyface.trained(data.faces()[list(data.CRITICS_LEARN_FROM)], width=width, seed=seed, steps=steps)
    return {key: value.numpy() for key, value in net.state_dict().items()}


def make_calibration(name: str, identity: str, source: str) -> dict[str, float]:
    """A critic's threshold at FALSE_ACCEPTS, and how often it finds and accepts a varied picture of a known face."""
    del identity, source
    known_N1SS = F.interpolate(data.faces()[list(data.CRITICS_LEARN_FROM)], (96, 96), mode="bicubic").clamp(0, 1)
    rng, count = generator("cloak", "calibration"), len(known_N1SS)
    encoder = critic(name, "cuda" if torch.cuda.is_available() else "cpu")
    known_NE = _embedded(encoder, known_N1SS)
    cosines = torch.cat([_embedded(encoder, tinyface.varied(known_N1SS, rng)) @ known_NE.T for _ in range(VIEWS)])
    own = torch.arange(count).repeat(VIEWS)
    same = cosines[torch.arange(len(own)), own]
    others = cosines[F.one_hot(own, count) == 0]
    threshold = float(others.quantile(1 - FALSE_ACCEPTS))
    return {
        "match_threshold": threshold,
        "first": float((cosines.argmax(1) == own).float().mean()),
        "accepted": float((same >= threshold).float().mean()),
    }


@cache
def _critic(name: str, device: str) -> Critic:
    kind, _, folder = name.partition(":")
    with torch.random.fork_rng(devices=[]):  # a run must not depend on whether its critic was loaded before
        return (_siglip(name, Path(folder)) if kind == "siglip" else _tinyface(name)).to(device)


@cache
def _calibration(name: str) -> Calibration:
    return Calibration(**made_once(make_calibration, name, identity_of(name), _source()))


def _tinyface(name: str) -> Critic:
    weights = made_once(make_tinyface, TINY[name], derive("cloak", name), STEPS, _source())
    net = tinyface.TinyFace(TINY[name])
    net.load_state_dict({key: torch.from_numpy(np.array(value)) for key, value in weights.items()})
    return Critic(name, Grey(net), tinyface.SIDE)


def _siglip(name: str, folder: Path) -> Critic:
    if not (folder / "config.json").is_file():
        raise ValueError(
            f"{name}: {folder} must be a folder with a SigLIP model (config.json, model.safetensors); "
            f"{'no config.json in it' if folder.is_dir() else 'it is no folder'}"
        )
    os.environ.setdefault("HF_HUB_OFFLINE", "1")  # read when transformers is imported; the folder is all there is
    try:
        from transformers import SiglipVisionModel, logging
    except ImportError as error:
        raise ValueError(f"{name}: needs the package transformers: pip install 'hpo[siglip]' ({error})") from error
    logging.set_verbosity_error()  # it would list every weight of the text half, which is not asked for
    vision, found = SiglipVisionModel.from_pretrained(
        folder, local_files_only=True, dtype=torch.float32, output_loading_info=True
    )
    if found["missing_keys"]:
        raise ValueError(
            f"{name}: {folder} must hold a whole SigLIP vision model; missing: "
            f"{', '.join(sorted(found['missing_keys'])[:3])}"
        )
    return Critic(name, Pooled(vision), vision.config.image_size)


@torch.no_grad()
def _embedded(critic: Critic, grey_N1SS: Tensor) -> Tensor:
    where = next(critic.parameters()).device
    parts = (critic.embed(grey_B1SS.expand(-1, 3, -1, -1).to(where)) for grey_B1SS in grey_N1SS.split(8))
    return torch.cat(list(parts)).cpu()


def _fingerprint(folder: Path) -> str:
    """Names, sizes and times of a model's files: hashing gigabytes at every start would cost more than it tells."""
    found = (
        [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in sorted(folder.iterdir())]
        if folder.is_dir()
        else []
    )
    return f"{derive(repr(found)):x}"


@cache
def _source() -> str:
    """Hash of the code that makes critics: changing it makes them anew."""
    here = Path(__file__).parent
    return files.content_hash([here / name for name in ("encoders.py", "tinyface.py")])
