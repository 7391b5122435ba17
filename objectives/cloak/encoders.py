"""Encoders that turn a photograph into a vector, and how far apart two vectors must be to match no longer.

dlib, sface               published face matchers: see matchers.py. They need a face, and its five points
tinyface, tinyface-wide   trained once a machine on the shipped faces: see tinyface.py. Encoders of pictures, for a
                          machine without the extra `faces`; they say nothing about a face matcher
siglip:DIR                the vision half of a SigLIP model in a local folder, through transformers (optional dependency
                          `siglip`); nothing is downloaded

`a+b` names several. *Separation* is the dissimilarity of two vectors over the dissimilarity at the matching threshold:
0 for the same picture, and above 1 the encoder no longer matches them. So encoders of any kind can be compared.

An encoder's parameters are frozen; gradients flow through it to the photograph.
Shapes: B photographs, N faces, 3 RGB, H, W pixels, S the side that an encoder takes, E features, P = 5 points
of a face. Photographs are in [0, 1].
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hpo import derive, example_hash, generator, made_once
from objectives.cloak import align, data, matchers, siglip, tinyface
from objectives.cloak.align import Jitter
from objectives.cloak.matchers import MATCHERS
from objectives.common.colour import luma

TINY = {"tinyface": 16, "tinyface-wide": 24}  # width by name; the seed is derived from the name
STEPS = 250
FALSE_ACCEPTS = 0.01  # share of the pairs of different people that reach the matching threshold
VIEWS = 4  # varied pictures of each face that the threshold is measured on

Chips = Callable[[Tensor, Tensor, Jitter | None], Tensor]  # from photographs and points to what an encoder takes


@dataclass(frozen=True)
class Calibration:
    """An encoder's matching threshold, and how well it recognises the 60 faces that critics learn from."""

    match_threshold: float  # cosine that FALSE_ACCEPTS of the pairs of different people reach
    first: float  # share of varied pictures whose nearest face is their own
    accepted: float  # share of varied pictures that match their own face


class Critic(nn.Module):
    """Any encoder behind one interface: photographs of any size in, vectors out, with a gradient throughout."""

    def __init__(self, name: str, encoder: nn.Module, chips: Chips, *, euclidean: bool = False) -> None:
        super().__init__()
        self.name, self.chips, self.euclidean = name, chips, euclidean
        self.encoder = encoder.requires_grad_(False).eval()
        self.digest = example_hash(self.state_dict().values())  # of the parameters as they were loaded

    def embed(self, photo_B3HW: Tensor, points_BP2: Tensor, jitter: Jitter | None = None) -> Tensor:
        """Vectors [B, E], float32; of length 1 where their cosine is what counts. With `jitter` the alignment of each
        photograph is moved at random."""
        with torch.autocast(photo_B3HW.device.type, enabled=False):
            vectors_BE: Tensor = self.encoder(self.chips(photo_B3HW.float(), points_BP2, jitter)).float()
            return vectors_BE if self.euclidean else F.normalize(vectors_BE, dim=1)

    def dissimilarity(self, a_BE: Tensor, b_BE: Tensor) -> Tensor:
        """Of vectors, [B]: their Euclidean distance, or 1 - their cosine."""
        return (a_BE - b_BE).norm(dim=1) if self.euclidean else 1 - (a_BE * b_BE).sum(1)

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


def critic(name: str, device: torch.device | str = "cpu") -> Critic:
    """The encoder of that name, loaded once a process.

    Raises ValueError for an unknown name, a package that is not installed, or a folder without a model.
    """
    return _critic(check_name(name), str(device))


def calibration(name: str) -> Calibration:
    """How well an encoder recognises the shipped faces, and a threshold from them; measured once a machine.

    Not for published matchers, which bring their own threshold.
    """
    return _calibration(check_name(name))


def separation(encoder: Critic, a_BE: Tensor, b_BE: Tensor) -> Tensor:
    """Dissimilarity of vectors over the dissimilarity at the matching threshold, [B]. Above 1 they do not match."""
    return encoder.dissimilarity(a_BE, b_BE) / match_limit(encoder.name)


def match_limit(name: str) -> float:
    """The dissimilarity below which two photographs match, in the encoder's own measure."""
    return MATCHERS[name].limit if name in MATCHERS else 1 - calibration(name).match_threshold


def names_in(joined: str) -> tuple[str, ...]:
    """The encoders in a name such as dlib+sface. Raises ValueError where there is no encoder of a name."""
    names = tuple(joined.split("+"))
    if len(set(names)) < len(names):
        raise ValueError(f"an encoder is named twice in {joined!r}")
    return tuple(check_name(name) for name in names)


def check_name(name: str) -> str:
    """The name itself. Raises ValueError where there is no encoder of that name."""
    kind, _, folder = name.partition(":")
    if name in TINY or name in MATCHERS or (kind == "siglip" and folder):
        return name
    raise ValueError(f"a critic must be {', '.join((*MATCHERS, *TINY))} or siglip:DIR; got {name!r}")


def needs_face(name: str) -> bool:
    """Whether the encoder takes a face, aligned by its points; the others take the whole photograph."""
    return name in MATCHERS


def resize_for_encoder(photo_B3HW: Tensor, side: int) -> Tensor:
    """The photographs at the encoder's size, squeezed to a square: bilinear, antialiased where that more than halves
    them."""
    if photo_B3HW.shape[-2:] == (side, side):
        return photo_B3HW
    shrinks = max(photo_B3HW.shape[-2:]) > 2 * side
    return F.interpolate(photo_B3HW, (side, side), mode="bilinear", align_corners=False, antialias=shrinks)


def whole_photograph(side: int) -> Chips:
    """Chips of an encoder that knows no faces: the photograph at its size, whatever the points and the jitter are."""

    def chips(photo_B3HW: Tensor, points_BP2: Tensor, jitter: Jitter | None) -> Tensor:
        del points_BP2, jitter
        return resize_for_encoder(photo_B3HW, side)

    return chips


def aligned_face(name: str) -> Chips:
    """Chips of a face matcher: cut out by the points of the face."""
    matcher = MATCHERS[name]

    def chips(photo_B3HW: Tensor, points_BP2: Tensor, jitter: Jitter | None) -> Tensor:
        placement_B23 = matcher.placement(points_BP2.float())
        if jitter is not None:
            placement_B23 = align.jittered(placement_B23, matcher.side, jitter)
        return matcher.chips(photo_B3HW, placement_B23)

    return chips


def encoder_identity(name: str) -> str:
    """Equal for names of one and the same encoder, and different for different encoders."""
    kind, _, folder = name.partition(":")
    if name in MATCHERS:
        return f"{name} {MATCHERS[name].file.sha256[:12]}"
    return f"siglip {siglip.fingerprint(Path(folder).resolve())}" if kind == "siglip" else f"tinyface {TINY[name]}"


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
    with torch.random.fork_rng(devices=[]):  # a run must not depend on whether its critic was loaded before
        return _loaded(name).to(device)


def _loaded(name: str) -> Critic:
    if name in MATCHERS:
        return Critic(name, matchers.network(name), aligned_face(name), euclidean=MATCHERS[name].euclidean)
    if name in TINY:
        return _tinyface(name)
    vision, side = siglip.load(name, Path(name.partition(":")[2]))
    return Critic(name, vision, whole_photograph(side))


@cache
def _calibration(name: str) -> Calibration:
    return Calibration(**made_once(make_calibration, name, encoder_identity(name)))


def _tinyface(name: str) -> Critic:
    weights = made_once(make_tinyface, TINY[name], derive("cloak", name), STEPS)
    net = tinyface.TinyFace(TINY[name])
    net.load_state_dict({key: torch.from_numpy(np.array(value)) for key, value in weights.items()})
    return Critic(name, Grey(net), whole_photograph(tinyface.SIDE))


@torch.no_grad()
def _embed_faces(encoder: Critic, grey_N1SS: Tensor) -> Tensor:
    device = next(encoder.parameters()).device
    no_points = torch.zeros(8, 5, 2, device=device)
    parts = [
        encoder.embed(grey_B1SS.expand(-1, 3, -1, -1).to(device), no_points[: len(grey_B1SS)])
        for grey_B1SS in grey_N1SS.split(8)
    ]
    return torch.cat(parts).cpu()
