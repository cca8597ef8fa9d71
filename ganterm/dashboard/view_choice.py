"""The view of the samples that the user has chosen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ganterm.core.snapshot import DEFAULT_VIEW, Painter, Sample, ViewName

PAINTERS: tuple[Painter, ...] = ("raw", "averaged", "both")
"""Which weights of G draw the samples, in the order of the key e."""


class ViewChoice:
    """The view that the user has chosen. ``views``, in its methods, are those that the run has."""

    def __init__(self) -> None:
        self.view = DEFAULT_VIEW

    def turn(self, direction: int, views: Sequence[ViewName]) -> None:
        """Choose the next (+1) or the previous (-1) view, in a circle."""
        if len(views) > 1:
            at = views.index(self.view.name) if self.view.name in views else 0
            self.see(views[(at + direction) % len(views)])

    def see(self, name: ViewName) -> None:
        """Choose the view called ``name``, from its first row."""
        painter = self.view.painter
        if name != "samples" and painter == "both":
            painter = "averaged"
        self.view = replace(self.view, name=name, painter=painter, first=0)

    def next_painter(self, views: Sequence[ViewName]) -> None:
        """Choose the next of raw, averaged and both; only the view "samples" has both."""
        name = self.view.name or views[0]
        painters = PAINTERS if name == "samples" else PAINTERS[:2]
        at = PAINTERS.index(self.view.painter) + 1
        self.view = replace(self.view, painter=painters[at % len(painters)])

    def page(self, direction: int, sample: Sample | None, shown: int) -> None:
        """Choose the next (+1) or the previous (-1) page of ``shown`` rows, if there are more."""
        if sample is None or sample.view.name != "classes" or shown >= sample.rows:
            return
        pages = -(-sample.rows // shown)
        page = (sample.view.first // shown + direction) % pages
        self.view = replace(self.view, first=page * shown)
