"""The dashboard: a tick that pulls frames from a session, and the actions of the keys."""

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
"""Numbers of newest rows that the charts can show; None is the whole run."""
TWICE_SECONDS = 5.0
"""Seconds within which a second U rewinds a run without an alarm. One U alone does not, because a
rewind discards steps."""


class Dashboard(SessionApp):
    """Shows a session and steers it.

    ``again`` prepares to resume a failed run from its newest checkpoint; it raises UserError where
    that is impossible. None: this process cannot resume the run.
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
        self._event_count = 0
        # All events, and those of the newest branch among them.
        self._branch_events: tuple[tuple[Event, ...], tuple[Event, ...]] = (), ()
        self._rewind_pressed_at = float("-inf")
        self._bell_alarms: set[tuple[str, int]] | None = None
        self._cockpit = CockpitScreen()
        self.pictures: Pictures = Pictures(self._cockpit, line)
        self.use_glyphs(glyphs or Glyphs())

    def get_default_screen(self) -> Screen[Any]:
        """The cockpit."""
        return self._cockpit

    def on_mount(self) -> None:
        """Request samples and start to tick."""
        if self.line is not None:
            self.line.on_caught_up = partial(self.call_soon, self.repaint)
        self.session.watch(SAMPLES_PER_S)
        self.session.note("attach", screen=f"{self.size.width}x{self.size.height}")
        self.set_interval(1 / CHARTS_PER_S, self.tick)
        self.call_after_refresh(self.tick)

    def on_resize(self) -> None:
        """Measure the cells again: a new font size may have changed the size of the terminal."""
        self.pictures.measure_cell()

    def use_graphics(self, graphics: Graphics) -> None:
        """Draw pictures in pixels from now on, if the terminal can show them."""
        self.pictures.use(graphics)
        self._show_anew()

    def tick(self) -> None:
        """Read the session, draw what has changed, and exit once the run is over."""
        try:
            self._tick()
        except Exception as error:  # noqa: BLE001 - the run matters more than its picture
            self.crashed("the dashboard", error)

    def _tick(self) -> None:
        snapshot, events = self.session.snapshot, self.session.events()
        self._pace.tick(snapshot)
        self._ring(snapshot)
        # The list of an attached run gets shorter at a rewind, by the events that it abandons.
        new = events[self._event_count :] if len(events) >= self._event_count else events
        self._steering.settle(snapshot, new)
        self._warn(events[max(self._event_count, snapshot.info.events_before) :])
        self._event_count = len(events)
        self._take_refusals()
        self.exit_where_over()
        self._ask_for_samples()
        self.pictures.avoid_covers()
        # A last tick may come after the screens are gone.
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
        """Show new warnings as a notice; a small screen has no panel for them."""
        texts = [clean(event.text, 300) for event in events if isinstance(event, WarningEvent)]
        if texts:
            self.notify("\n".join(texts[:5]), severity="warning", timeout=12)

    def _ring(self, snapshot: Snapshot) -> None:
        """Ring the terminal's bell for each new alarm, but not for those of the first snapshot."""
        raised = {
            (alarm.name, alarm.raised) for alarm in snapshot.alarms if alarm.severity == "alarm"
        }
        if self._bell_alarms is not None and raised - self._bell_alarms:
            self.bell()
        self._bell_alarms = raised

    def repaint(self) -> None:
        """Draw everything again, because the terminal has missed or lost part of it."""
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
        """The events of the newest branch, whose rows the history holds."""
        events, before = self.session.events(), self._branch_events[0]
        if len(events) != len(before) or events[-1:] != before[-1:]:
            self._branch_events = events, tuple(reader.newest_branch(events))
        return self._branch_events[1]

    def _show(self, frame: Frame, fresh: bool) -> None:
        self._pace.remember(frame, fresh)
        self._cockpit.show(frame, fresh)

    def _show_anew(self) -> None:
        """Draw the newest state at once."""
        if self._cockpit.is_mounted:
            self._show(self._frame(self.session.snapshot), fresh=True)

    def action_nudge(self, name: str, direction: int) -> None:
        """Request a control's next lower (-1) or higher (+1) value."""
        if not self.locked():
            self._steering.nudge(name, direction)

    async def action_prompt(self) -> None:
        """Open the `:` prompt, and focus it before the next key arrives: typing may be fast."""
        if self.locked():
            return

        def ask(answer: tuple[str, Value] | None) -> None:
            if answer is not None:
                self._steering.ask(*answer, "prompt")

        prompt = PromptScreen(self.session.snapshot.controls, self.pictures.glyphs)
        await self.push_screen(prompt, ask)
        prompt.set_focus(prompt.query_one(Input))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Whether an action may run: while a dialog is open, only those in ``ALWAYS`` may."""
        return action in ALWAYS or not self.screen.is_modal

    def action_pause(self) -> None:
        """Pause or continue."""
        if self.locked():
            return
        self.submit(Unpause() if self._steering.pause_or_go_on() else Pause())

    def action_one_step(self) -> None:
        """Run one iteration, then pause."""
        self.submit(OneStep())

    def action_view(self, direction: int) -> None:
        """Show the next (+1) or previous (-1) view of the samples."""
        if not self.over():
            self._view_choice.turn(direction, self.session.snapshot.info.views)
            self._look()

    def action_painter(self) -> None:
        """Show samples of the raw generator, of the averaged one, or of both, in turn."""
        if not self.over():
            self._view_choice.next_painter(self.session.snapshot.info.views)
            self._look()

    def action_body(self, name: str) -> None:
        """Show the overview or the full diagnosis."""
        if self._cockpit.body == name:
            return
        self._cockpit.turn_to(name)
        self._ask_for_samples()
        # Panels have no size before they are laid out.
        self.call_after_refresh(self._show_anew)

    def action_alarms(self) -> None:
        """List the raised alarms, their remedies, and earlier alarms."""

        def act(remedy: Remedy | None) -> None:
            if remedy is not None and not self.locked():
                self._carry_out(remedy)

        snapshot, events = self.session.snapshot, self.session.events()
        screen = AlarmsScreen(snapshot.alarms, events, health(snapshot), self.pictures.glyphs)
        self.push_screen(screen, act)

    def _carry_out(self, remedy: Remedy) -> None:
        """Apply a remedy as if its key were pressed; the log names the alarm as the cause."""
        action = action_of(remedy.press)
        if action is not None:
            self.call_later(self.run_action, action)
            return
        try:
            message = self._steering.obey(remedy.press, "alarm")
        except ControlError as error:
            self.notify(str(error), severity="error")
            return
        if message:
            self.notify(message, timeout=3)

    def action_page(self, direction: int) -> None:
        """Show the next (+1) or previous (-1) rows of the samples, or of the readings."""
        if self._cockpit.body == "diagnosis":
            self._cockpit.query_one(ReadingsPanel).turn(direction)
        elif not self.over():
            shown = self._cockpit.samples.rows_shown
            self._view_choice.page(direction, self.session.snapshot.sample, shown)
            self._look()

    def action_see(self, name: ViewName) -> None:
        """Show the view called ``name``, if the run has it."""
        views = self.session.snapshot.info.views
        if name not in views:
            message = f"This run has no view {name}; it has {', '.join(views)}."
            self.notify(message, severity="warning", timeout=3)
        elif not self.over():
            self._view_choice.see(name)
            self._look()

    def _look(self) -> None:
        """Request the chosen view at once, and show that it is coming."""
        self._ask_for_samples()
        self._show_anew()

    def _ask_for_samples(self) -> None:
        """Request samples of the chosen view, but none while the diagnosis hides their panel."""
        visible = self._cockpit.body == "overview"
        self.session.watch(self._pace.budget.rates[1] if visible else 0, self._view_choice.view)

    def action_new_noise(self) -> None:
        """Draw new fixed noise for the samples."""
        self.submit(NewNoise())

    def action_save_samples(self) -> None:
        """Save a PNG of the samples."""
        self.submit(SaveSamples())

    def action_checkpoint(self) -> None:
        """Write a checkpoint, which is kept until the user removes it."""
        self.submit(SaveCheckpoint())

    def action_picture(self) -> None:
        """Save an SVG of the screen in the run directory."""
        info = self.session.snapshot.info
        if not info.directory:
            self.notify("There is no run directory yet.", severity="warning")
            return
        name = f"screenshot_{self.session.snapshot.step:010d}.svg"
        # The file holds characters only.
        self._cockpit.samples.turn_to(in_cells=True)
        try:
            path = self.save_screenshot(name, info.directory)
        except OSError as error:
            self.notify(f"Not saved: {error.strerror}", severity="error")
            return
        self.notify(f"Saved {Path(path).name}", timeout=3)

    def action_zoom(self) -> None:
        """Switch the charts to the next of ``SPANS``."""
        self._zoom = (self._zoom + 1) % len(SPANS)
        self.tick()

    def action_help(self) -> None:
        """Open the help screen."""
        keys = [*((shown, does) for _, shown, _, does in ACTIONS), *ALSO]
        self.push_screen(HelpScreen(self.session.snapshot.controls, keys))

    def use_glyphs(self, glyphs: Glyphs) -> None:
        """Draw with ``glyphs`` from the next frame on; pictures in pixels if the terminal can."""
        self.pictures.choose(glyphs)
        self.question = QUESTION if glyphs.ask or glyphs.pixels else ""
        self.set_class(not glyphs.unicode, "ascii")

    def action_rewind(self) -> None:
        """Rewind to the newest healthy checkpoint; without an alarm, only at a second press."""
        if self.locked():
            return
        snapshot = self.session.snapshot
        if snapshot.healthy is None:
            message = "There is no healthy checkpoint to go back to yet; w writes one."
            self.notify(message, severity="warning", timeout=5)
            return
        is_remedy = any(
            remedy.press == "U" for alarm in snapshot.alarms for remedy in alarm.remedies
        )
        before, self._rewind_pressed_at = self._rewind_pressed_at, time.monotonic()
        if not is_remedy and self._rewind_pressed_at - before > TWICE_SECONDS:
            message = (
                f"No alarm suggests it. Press U again to go back to step {snapshot.healthy:,}."
            )
            self.notify(message, severity="warning", timeout=TWICE_SECONDS)
            return
        self._rewind_pressed_at = float("-inf")
        self.submit(Rewind())
        self.notify(
            f"Back to step {snapshot.healthy:,}, paused. The same steps would end the same way: "
            "lower a learning rate or change something else, then press space to continue.",
            timeout=10,
        )

    def action_restart(self) -> None:
        """Resume a failed run from its newest checkpoint, or retry while its data are missing."""
        waiting = any(alarm.name == "source" for alarm in self.session.snapshot.alarms)
        if waiting and self.session.snapshot.state == "paused":
            self.submit(Unpause())
        elif self.session.snapshot.state != "failed":
            self.notify("R resumes a failed run; this run has not failed.", timeout=3)
        elif self._again is None:
            name = clean(self.session.snapshot.info.name)
            self.notify(f"Quit, then resume it with: ganterm resume {name}", timeout=5)
        else:
            try:
                self._again()
            except UserError as error:
                self.notify(str(error), severity="error", timeout=8)
                return
            self.exit(0)

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """The entries of the command palette."""
        return commands(self.run_action, self.session.snapshot.info.views)

    def action_choose(self, name: str, choice: str) -> None:
        """Request the value ``choice`` of the control ``name``."""
        if not self.locked():
            self._steering.ask(name, choice, "palette")
