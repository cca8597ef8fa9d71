"""The last save of a run: where its directory takes nothing, in another place."""

from __future__ import annotations

import shlex
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from ganterm.session.protocol import Failure
from ganterm.text import clean
from ganterm.training.rundir import Place, RunDirectory
from ganterm.training.saving import Saving
from ganterm.training.standing import Standing
from ganterm.training.teller import Teller

WAIT_SECONDS = 20.0
"""How long the run directory is tried again; less than a batch system gives a job to end."""
TRY_SECONDS = 1.0


class LastSave:
    """Saves the networks at the end of a sitting, whatever became of the run directory.

    Where it takes nothing, they are at once put into another place, so that a kill loses nothing,
    and the directory is tried again for ``WAIT_SECONDS``; then the run moves to the other place.
    ``runs``: where that is made, or else in the folder for temporary files. ``publish`` shows the
    alarm that tells of all this.
    """

    def __init__(
        self,
        directory: RunDirectory,
        standing: Standing,
        saving: Saving,
        teller: Teller,
        runs: Path,
        publish: Callable[[], None],
    ) -> None:
        self._directory = directory
        self._standing = standing
        self._saving = saving
        self._teller = teller
        self._runs = runs
        self._publish = publish

    def save(self) -> tuple[str | None, Failure | None]:
        """The path of the last checkpoint in the directory that the run has now, None where none
        could be written; and the failure, where it is not where it should be."""
        saved, trouble = self._saving.last()
        if trouble is None:
            return saved, None
        where = clean(self._directory.path)
        if self._directory.gone:
            trouble = f"{where} was deleted"
        place, elsewhere = self._elsewhere()
        lie = f"; they lie in {_path(place)} for now" if place else ""
        end = time.monotonic() + WAIT_SECONDS
        while trouble is not None and not self._directory.gone and time.monotonic() < end:
            waits = f"{trouble}{lie}; it is tried again for {WAIT_SECONDS:.0f} s"
            self._teller.warn("save", "Not saved yet", f"the networks cannot be saved: {waits}")
            self._publish()
            time.sleep(TRY_SECONDS)
            saved, trouble = self._saving.last()
        if trouble is None:
            if place is not None:
                place.remove()
            self._teller.clear("save")
            return saved, None
        if place is None:
            failure = Failure(f"the networks could not be saved: {trouble}")
        else:
            self._directory.move(place)
            failure = Failure(
                f"the networks could not be saved in {where}: {trouble}; they are in another "
                f"place, to go on with them: ganterm resume {shlex.quote(_path(place))}"
            )
        self._teller.warn("save", "Not saved", failure.message)
        return elsewhere, failure

    def _elsewhere(self) -> tuple[Place | None, str | None]:
        """Another place with a checkpoint in it, and the checkpoint's path; None where none is."""
        try:
            return self._in(self._runs)
        except OSError:
            pass
        temporary = None
        try:
            temporary = Path(tempfile.mkdtemp(prefix="ganterm-"))
            return self._in(temporary)
        except OSError:
            # What is wrong with the run directory is told; that there is no other place, as well.
            if temporary is not None:
                temporary.rmdir()
        return None, None

    def _in(self, parent: Path) -> tuple[Place, str]:
        standing = self._standing
        place = self._directory.second(
            parent.absolute(), self._saving.room, standing.step, standing.branch
        )
        try:
            return place, self._saving.into(place)
        except OSError:
            place.remove()
            raise


def _path(place: Place) -> str:
    return clean(place.folder.path, 4096)
