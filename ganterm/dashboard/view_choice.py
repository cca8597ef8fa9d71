"""What the samples panel is asked to show, as keys and the palette choose it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ganterm.core.snapshot import DEFAULT_VIEW, Painter, Sample, ViewName

PAINTERS: tuple[Painter, ...] = ("raw", "averaged", "both")


class ViewChoice:
    """The view that the user wants; ``views`` are those that the run has."""

    def __init__(self) -> None:
        self.view = DEFAULT_VIEW

    def turn(self, direction: int, views: Sequence[ViewName]) -> None:
        """The next view (+1) or the one before (-1); they go round."""
        if len(views) > 1:
            at = views.index(self.view.name) if self.view.name in views else 0
            self.see(views[(at + direction) % len(views)])

    def see(self, name: ViewName) -> None:
        """That view, from its first row."""
        painter = self.view.painter
        if name != "samples" and painter == "both":
            painter = "averaged"
        self.view = replace(self.view, name=name, painter=painter, first=0)

    def next_painter(self, views: Sequence[ViewName]) -> None:
        """Raw, averaged, both beside each other where the view can, and raw again."""
        name = self.view.name or views[0]
        painters = PAINTERS if name == "samples" else PAINTERS[:2]
        at = PAINTERS.index(self.view.painter) + 1
        self.view = replace(self.view, painter=painters[at % len(painters)])

    def page(self, direction: int, sample: Sample | None, shown: int) -> None:
        """The rows after (+1) or before (-1) the ``shown`` ones, where there are more."""
        if sample is None or sample.view.name != "classes" or shown >= sample.rows:
            return
        pages = -(-sample.rows // shown)
        page = (sample.view.first // shown + direction) % pages
        self.view = replace(self.view, first=page * shown)
