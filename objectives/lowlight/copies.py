"""Pictures of one scene under several names, found by looking: re-encoded, resized, or exposed a little differently.

Shapes: N pictures, P pixels of a thumbnail.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from objectives.common.crops import resized
from objectives.common.files import read_image

SIDE = 16  # pixels of a thumbnail
NEAR = 2.0  # mean difference of two thumbnails in levels of 255: a copy
ALIKE = 0.99  # correlation of two thumbnails: a copy that was exposed differently; 0.96 is the most of 88 other views
FLAT = 4.0  # levels: a thumbnail with a smaller spread correlates with anything


def thumbnail(path: Path) -> tuple[np.ndarray, tuple[int, int]]:
    """The picture at 16 x 16 pixels, float32 [3 * 16 * 16] in [0, 255], and its height and width.

    Raises ValueError where the file cannot be read.
    """
    rgb_3HW = read_image(path)
    height, width = rgb_3HW.shape[-2:]
    return resized(rgb_3HW, SIDE).flatten().numpy() * 255, (height, width)


def scene_numbers_by_look(thumbnails_NP: np.ndarray, names: Sequence[str]) -> list[int]:
    """A number for each picture: equal for pictures of one name, and for copies, of copies too."""
    number_of_name = {name: number for number, name in enumerate(dict.fromkeys(names))}
    name_N = np.array([number_of_name[name] for name in names])
    count = len(names)
    edges = [
        np.flatnonzero((name_N[:index] == name_N[index]) | _are_copies(thumbnails_NP[index], thumbnails_NP[:index]))
        for index in range(count)
    ]
    rows = np.repeat(np.arange(count), [len(columns) for columns in edges])
    columns = np.concatenate(edges)
    graph = coo_array((np.ones(len(rows), bool), (rows, columns)), shape=(count, count))
    return [int(number) for number in connected_components(graph, directed=False)[1]]


def _are_copies(thumbnail_P: np.ndarray, others_NP: np.ndarray) -> np.ndarray:
    """Which of the others show the same, [N]."""
    near_N = np.abs(others_NP - thumbnail_P).mean(1) < NEAR
    centred_P, centred_NP = _centred(thumbnail_P[None])[0], _centred(others_NP)
    spread, spread_N = centred_P.std(), centred_NP.std(1)
    correlation_N = (centred_NP @ centred_P) / len(centred_P) / np.maximum(spread * spread_N, 1e-9)
    return near_N | ((correlation_N > ALIKE) & (np.minimum(spread, spread_N) > FLAT))


def _centred(thumbnails_NP: np.ndarray) -> np.ndarray:
    """Each channel without its mean."""
    by_channel_N3Q = thumbnails_NP.reshape(-1, 3, SIDE**2)
    return (by_channel_N3Q - by_channel_N3Q.mean(2, keepdims=True)).reshape(thumbnails_NP.shape)
