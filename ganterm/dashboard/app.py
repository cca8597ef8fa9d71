"""The dashboard: one polling tick that pulls frames from a session, and the keys that steer it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from textual.app import SystemCommand
from textual.binding import BindingType
from textual.screen import Screen
from textual.widgets import Input

from ganterm.core.controls import ControlError, Value
from ganterm.core.errors import UserError
from ganterm.core.events import Event, WarningEvent
from ganterm.core.findings import Remedy
from ganterm.core.snapshot import (
    NewNoise,
    OneStep,
    Pause,
    Rewind,
    SaveCheckpoint,
    SaveSamples,
    Session,
    Snapshot,
    Unpause,
    ViewName,
)
from ganterm.core.text import clean
from ganterm.dashboard.budget import CHARTS_PER_S, SAMPLES_PER_S
from ganterm.dashboard.draw.glyphs import Glyphs
from ganterm.dashboard.frame import Frame
from ganterm.dashboard.keys import ACTIONS, ALSO, ALWAYS, action_of, bindings, commands
from ganterm.dashboard.light import health
from ganterm.dashboard.panels.readings import ReadingsPanel
from ganterm.dashboard.pictures import Pictures
from ganterm.dashboard.screens.alarms import AlarmsScreen
from ganterm.dashboard.screens.cockpit import CSS as LAYOUT_CSS
from ganterm.dashboard.screens.cockpit import CockpitScreen
from ganterm.dashboard.screens.help import HelpScreen
from ganterm.dashboard.screens.prompt import PromptScreen
from ganterm.dashboard.session_app import SessionApp
from ganterm.dashboard.steering import Refusals, Steering
from ganterm.dashboard.terminal.capabilities import Colors
from ganterm.dashboard.terminal.graphics import QUESTION, Graphics
from ganterm.dashboard.terminal.line import Line
from ganterm.dashboard.view_choice import ViewChoice
from ganterm.rundir import reader

SPANS = (None, 2000, 200)
"""How many of the newest rows the charts show; None is the whole run."""
TWICE_SECONDS = 5.0
"""Seconds within which U must be pressed again to rewind a run that has no alarm: a rewind discards
steps."""


class Dashboard(SessionApp):
    """Shows a session and steers it.

    ``again``: called when the user wants a failed run to go on from its newest checkpoint; raises
    UserError where it cannot.
    """

    TITLE = "ganterm"
    CSS = LAYOUT_CSS
    ALLOW_SELECT = False
    BINDINGS: ClassVar[list[BindingType]] = bindings()

    def __init__(
        self,
        session: Session,
        glyphs: Glyphs | None = None,
        line: Line | None = None,
        colors: Colors = "truecolor",
        suspends: bool = False,
        again: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(session, line, colors, suspends)
        self._again = again
        self._steering = Steering(session)
        self._refusals = Refusals()
        self._view_choice = ViewChoice()
        self._zoom = 0
        self._events_seen = 0
        self._of_branch: tuple[tuple[Event, ...], tuple[Event, ...]] = (), ()
        self._rewind_asked_at = float("-inf")
        self._rung: set[tuple[str, int]] | None = None
        self._cockpit = CockpitScreen()
        self.pictures: Pictures = Pictures(self._cockpit, line)
        self.use_glyphs(glyphs or Glyphs())

    def get_default_screen(self) -> Screen[Any]:
        """The cockpit."""
        return self._cockpit

    def on_mount(self) -> None:
        """Ask for samples and begin to tick."""
        if self.line is not None:
            self.line.caught_up = partial(self.call_soon, self.repaint)
        self.session.watch(SAMPLES_PER_S)
        self.session.note("attach", screen=f"{self.size.width}x{self.size.height}")
        self.set_interval(1 / CHARTS_PER_S, self.tick)
        self.call_after_refresh(self.tick)

    def on_resize(self) -> None:
        """A font of another size may be what made the terminal another size."""
        self.pictures.look_again()

    def answered(self, graphics: Graphics) -> None:
        """Draw in pixels from now on, where the terminal has them."""
        self.pictures.answered(graphics)
        self._show_anew()

    def tick(self) -> None:
        """Look at the session, draw what changed, leave where there is nothing left to watch."""
        try:
            self._tick()
        except Exception as error:  # noqa: BLE001 - the run matters more than its picture
            self.crashed("the dashboard", error)

    def _tick(self) -> None:
        snapshot, events = self.session.snapshot, self.session.events()
        self._pace.tick(snapshot)
        self._ring(snapshot)
        # What a rewind has abandoned is taken off the list of another process's run.
        new = events[self._events_seen :] if len(events) >= self._events_seen else events
        self._steering.settle(snapshot, new)
        self._warn(events[max(self._events_seen, snapshot.info.events_before) :])
        self._events_seen = len(events)
        self._take_refusals()
        self.exit_where_over()
        self._ask_for_samples()
        self.pictures.look_what_covers()
        # A last tick may come when the screens are gone already.
        screens = self.screen_stack if self._cockpit.is_mounted else []
        if not screens or isinstance(screens[-1], HelpScreen) or self._pace.behind:
            return
        frame = self._frame(snapshot)
        due, fresh = self._pace.due(frame)
        if due:
            self._show(frame, fresh)

    def _take_refusals(self) -> None:
        refusals = self.session.take_refusals()
        for refusal in refusals:
            self._steering.refused(refusal.command)
        self._refusals.add(refusals)
        for line in self._refusals.lines():
            self.notify(line, severity="warning", timeout=5)

    def _warn(self, events: tuple[Event, ...]) -> None:
        """Show what the run warns of at its start, which a small screen has no room for later."""
        told = [clean(event.text, 300) for event in events if isinstance(event, WarningEvent)]
        if told:
            self.notify("\n".join(told[:5]), severity="warning", timeout=12)

    def _ring(self, snapshot: Snapshot) -> None:
        """Ring the terminal's bell once for each alarm that was not there when this began."""
        raised = {
            (alarm.name, alarm.raised) for alarm in snapshot.alarms if alarm.severity == "alarm"
        }
        if self._rung is not None and raised - self._rung:
            self.bell()
        self._rung = raised

    def repaint(self) -> None:
        """Draw everything again: the terminal has missed or lost part of it."""
        self._pace.forget()
        self.tick()
        super().repaint()

    def _frame(self, snapshot: Snapshot) -> Frame:
        return Frame(
            snapshot,
            self.session.history,
            self._events_of_branch(),
            self._steering.asked,
            self.pictures.glyphs,
            self._pace.budget.cost,
            SPANS[self._zoom],
            self._view_choice.view,
            self.session.link,
        )

    def _events_of_branch(self) -> tuple[Event, ...]:
        """Those of the newest branch, as the history has its rows."""
        events = self.session.events()
        if len(events) != len(self._of_branch[0]) or events[-1:] != self._of_branch[0][-1:]:
            self._of_branch = events, tuple(reader.newest_branch(events))
        return self._of_branch[1]

    def _show(self, frame: Frame, fresh: bool) -> None:
        self._pace.drawn(frame, fresh)
        self._cockpit.show(frame, fresh)

    def _show_anew(self) -> None:
        """The newest of all, now."""
        if self._cockpit.is_mounted:
            self._show(self._frame(self.session.snapshot), fresh=True)

    def action_nudge(self, name: str, direction: int) -> None:
        """Ask for a control's next value."""
        if not self.locked():
            self._steering.nudge(name, direction)

    async def action_prompt(self) -> None:
        """Open the `:` prompt, focused before the next key is looked at: typing may be fast."""
        if self.locked():
            return

        def ask(answer: tuple[str, Value] | None) -> None:
            if answer is not None:
                self._steering.ask(*answer, "prompt")

        prompt = PromptScreen(self.session.snapshot.controls)
        await self.push_screen(prompt, ask)
        prompt.set_focus(prompt.query_one(Input))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """While a dialog is open, keys belong to it; only these reach the dashboard."""
        return action in ALWAYS or not self.screen.is_modal

    def action_pause(self) -> None:
        """Pause, or go on."""
        if self.locked():
            return
        self.submit(Unpause() if self._steering.pause_or_go_on() else Pause())

    def action_one_step(self) -> None:
        """One iteration, then rest."""
        self.submit(OneStep())

    def action_view(self, direction: int) -> None:
        """The samples' next view."""
        if not self.over():
            self._view_choice.turn(direction, self.session.snapshot.info.views)
            self._look()

    def action_painter(self) -> None:
        """G as it is, its average, or both."""
        if not self.over():
            self._view_choice.next_painter(self.session.snapshot.info.views)
            self._look()

    def action_body(self, name: str) -> None:
        """The overview, or diagnosis in full."""
        if self._cockpit.body == name:
            return
        self._cockpit.turn_to(name)
        self._ask_for_samples()
        # Panels have their size only once they are laid out.
        self.call_after_refresh(self._show_anew)

    def action_alarms(self) -> None:
        """List the raised alarms, their remedies, and the alarms of the past."""

        def chosen(remedy: Remedy | None) -> None:
            if remedy is not None and not self.locked():
                self._carry_out(remedy)

        known, events = self.session.snapshot, self.session.events()
        screen = AlarmsScreen(known.alarms, events, health(known), self.pictures.glyphs)
        self.push_screen(screen, chosen)

    def _carry_out(self, remedy: Remedy) -> None:
        """Do what a remedy says, as if its key were pressed; logged as an alarm's doing."""
        action = action_of(remedy.press)
        if action is not None:
            self.call_later(self.run_action, action)
            return
        try:
            told = self._steering.obey(remedy.press, "alarm")
        except ControlError as error:
            self.notify(str(error), severity="error")
            return
        if told:
            self.notify(told, timeout=3)

    def action_page(self, direction: int) -> None:
        """The samples' next rows, or the next readings, where there are more than fit."""
        if self._cockpit.body == "diagnosis":
            self._cockpit.query_one(ReadingsPanel).turn(direction)
        elif not self.over():
            shown = self._cockpit.samples.rows_shown
            self._view_choice.page(direction, self.session.snapshot.sample, shown)
            self._look()

    def action_see(self, name: ViewName) -> None:
        """That view of the samples, where the run has it."""
        views = self.session.snapshot.info.views
        if name not in views:
            told = f"This run has no view {name}; it has {', '.join(views)}."
            self.notify(told, severity="warning", timeout=3)
        elif not self.over():
            self._view_choice.see(name)
            self._look()

    def _look(self) -> None:
        """Ask the trainer for the chosen view at once, and show that it is coming."""
        self._ask_for_samples()
        self._show_anew()

    def _ask_for_samples(self) -> None:
        """Ask the trainer for samples of the chosen view, for none while no panel shows them."""
        seen = self._cockpit.body == "overview"
        self.session.watch(self._pace.budget.rates[1] if seen else 0, self._view_choice.view)

    def action_new_noise(self) -> None:
        """Another fixed noise."""
        self.submit(NewNoise())

    def action_save_samples(self) -> None:
        """A PNG of the samples."""
        self.submit(SaveSamples())

    def action_checkpoint(self) -> None:
        """A checkpoint that stays."""
        self.submit(SaveCheckpoint())

    def action_picture(self) -> None:
        """An SVG of the screen, in the run directory."""
        info = self.session.snapshot.info
        if not info.directory:
            self.notify("There is no run directory yet.", severity="warning")
            return
        name = f"screenshot_{self.session.snapshot.step:010d}.svg"
        # The file has characters only.
        self._cockpit.samples.turn_to(in_cells=True)
        try:
            path = self.save_screenshot(name, info.directory)
        except OSError as error:
            self.notify(f"Not saved: {error.strerror}", severity="error")
            return
        self.notify(f"Saved {Path(path).name}", timeout=3)

    def action_zoom(self) -> None:
        """The charts' next span."""
        self._zoom = (self._zoom + 1) % len(SPANS)
        self.tick()

    def action_help(self) -> None:
        """Everything explained."""
        keys = [*((shown, does) for _, shown, _, does in ACTIONS), *ALSO]
        self.push_screen(HelpScreen(self.session.snapshot.controls, keys))

    def use_glyphs(self, glyphs: Glyphs) -> None:
        """Draw with these characters from the next frame on, or in pixels where they are better."""
        self.pictures.choose(glyphs)
        self.question = QUESTION if glyphs.ask or glyphs.pixels else ""
        self.set_class(not glyphs.unicode, "ascii")

    def action_rewind(self) -> None:
        """Back to the newest healthy checkpoint; pressed twice where no alarm says so."""
        if self.locked():
            return
        snapshot = self.session.snapshot
        if snapshot.healthy is None:
            told = "There is no healthy checkpoint to go back to yet; w writes one."
            self.notify(told, severity="warning", timeout=5)
            return
        offered = any(remedy.press == "U" for alarm in snapshot.alarms for remedy in alarm.remedies)
        pressed_at, self._rewind_asked_at = self._rewind_asked_at, time.monotonic()
        if not offered and self._rewind_asked_at - pressed_at > TWICE_SECONDS:
            told = f"No alarm asks for it: U again goes back to step {snapshot.healthy:,}."
            self.notify(told, severity="warning", timeout=TWICE_SECONDS)
            return
        self._rewind_asked_at = float("-inf")
        self.submit(Rewind())
        self.notify(
            f"Back to step {snapshot.healthy:,}, paused. The same steps would end the same: "
            "lower a rate or change something else, then space goes on.",
            timeout=10,
        )

    def action_restart(self) -> None:
        """Go on from the newest checkpoint, after a failure; try again where the data are away."""
        waiting = any(alarm.name == "source" for alarm in self.session.snapshot.alarms)
        if waiting and self.session.snapshot.state == "paused":
            self.submit(Unpause())
        elif self.session.snapshot.state != "failed":
            self.notify("R is for a run that failed.", timeout=3)
        elif self._again is None:
            name = clean(self.session.snapshot.info.name)
            self.notify(f"Not from here: ganterm resume {name}", timeout=5)
        else:
            try:
                self._again()
            except UserError as error:
                self.notify(str(error), severity="error", timeout=8)
                return
            self.exit(0)

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """Every action, and every control up, down and by value."""
        return commands(self.run_action, self.session.snapshot.info.views)

    def action_choose(self, name: str, choice: str) -> None:
        """Ask for a control's value of a given name."""
        if not self.locked():
            self._steering.ask(name, choice, "palette")
