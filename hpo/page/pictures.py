"""The task's pictures and charts of the winner."""

from __future__ import annotations

import base64
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from hpo.page.findings import Exhibit, Findings
from hpo.page.views import Plot, Section

COARSE_PX = 160  # narrower pictures are enlarged without smoothing


@dataclass(frozen=True)
class ImageView:
    """An image inside the page."""

    label: str
    base64: str  # of the PNG
    style: str  # the CSS class: coarse images are enlarged without smoothing


@dataclass(frozen=True)
class ExhibitView:
    """A row of images, or the plot of a chart."""

    title: str
    caption: str
    images: tuple[ImageView, ...] = ()
    plot: Plot | None = None


@dataclass(frozen=True, kw_only=True)
class PicturesSection(Section):
    """What the task drew of the winner."""

    name: ClassVar[str] = "pictures"
    title: ClassVar[str] = "Pictures"
    template: ClassVar[str] = "report/pictures.html.j2"
    exhibits: tuple[ExhibitView, ...]


def pictures_section(findings: Findings) -> PicturesSection | None:
    """None where the task drew nothing."""
    if not findings.exhibits:
        return None
    return PicturesSection(
        lead="The exported model on the test split.", exhibits=tuple(map(_exhibit, findings.exhibits))
    )


def _exhibit(exhibit: Exhibit) -> ExhibitView:
    if exhibit.figure is not None:
        return ExhibitView(exhibit.title, exhibit.caption, plot=_chart(exhibit, exhibit.figure))
    images = tuple(
        ImageView(
            label=panel.label,
            base64=base64.b64encode(panel.png).decode(),
            style="coarse" if _width(panel.png) < COARSE_PX else "fine",
        )
        for panel in exhibit.panels
    )
    return ExhibitView(exhibit.title, exhibit.caption, images)


def _chart(exhibit: Exhibit, figure: Mapping[str, Any]) -> Plot:
    """The task's figure under the page's own title and template."""
    layout = {key: value for key, value in figure.get("layout", {}).items() if key not in ("title", "template")}
    data = {"data": figure.get("data", []), "layout": layout}
    return Plot(exhibit.title, exhibit.caption, data, height_px=layout.get("height") or Plot.height_px)


def _width(png: bytes) -> int:
    """Pixels, from the header of the PNG."""
    return int(struct.unpack(">I", png[16:20])[0]) if len(png) >= 24 else 0
