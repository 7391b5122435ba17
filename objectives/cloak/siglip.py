"""The vision half of a SigLIP model in a local folder, through transformers; nothing is downloaded.

Source: Zhai et al. 2023. Shapes: B photographs, 3 RGB, S pixels a side, E features.
"""

from __future__ import annotations

import os
from pathlib import Path

import torch
from torch import Tensor, nn

from hpo import derive


class Pooled(nn.Module):
    """The pooled output of a SigLIP vision model, with its own scaling to [-1, 1]."""

    def __init__(self, vision: nn.Module) -> None:
        super().__init__()
        self.vision = vision

    def forward(self, photo_B3SS: Tensor) -> Tensor:
        features_BE: Tensor = self.vision(pixel_values=(photo_B3SS - 0.5) / 0.5).pooler_output
        return features_BE


def load(name: str, folder: Path) -> tuple[Pooled, int]:
    """The encoder in a folder, and the side that it takes. Raises ValueError where no whole model is in it."""
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
    return Pooled(vision), vision.config.image_size


def fingerprint(folder: Path) -> str:
    """Of the names, sizes and times of a model's files: hashing gigabytes at every start would take too long."""
    paths = sorted(folder.iterdir()) if folder.is_dir() else []
    listing = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in paths]
    return f"{derive(repr(listing)):x}"
