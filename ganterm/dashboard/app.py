"""The dashboard: one polling tick that pulls frames from a session, and the keys that steer it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from textual.app import SystemCommand
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widgets import Input

from ganterm.controls import KNOBS, ControlError, Value, parse_assignment
from ganterm.dashboard.base import TerminalApp
from ganterm.dashboard.budget import CHARTS_PER_S, SAMPLES_PER_S, Budget
from ganterm.dashboard.draw.glyphs import Glyphs
from ganterm.dashboard.driver import TerminalDriver
from ganterm.dashboard.frame import Frame
from ganterm.dashboard.line import Line
from ganterm.dashboard.looking import Looking
from ganterm.dashboard.panels.readings import ReadingsPanel
from ganterm.dashboard.panels.samples import SamplesPanel
from ganterm.dashboard.screens.alarms import AlarmsScreen
from ganterm.dashboard.screens.cockpit import CSS as LAYOUT_CSS
from ganterm.dashboard.screens.cockpit import CockpitScreen
from ganterm.dashboard.screens.help import HelpScreen
from ganterm.dashboard.screens.prompt import PromptScreen
from ganterm.dashboard.screens.quit import Answer, QuitScreen
from ganterm.dashboard.steering import Steering
from ganterm.dashboard.terminal import Colors
from ganterm.errors import UserError
from ganterm.session.findings import Remedy
from ganterm.session.protocol import (
    ENDED,
    VIEWS,
    Command,
    NewNoise,
    OneStep,
    Pause,
    Sample,
    SaveCheckpoint,
    SaveSamples,
    Session,
    Snapshot,
    Stop,
    Unpause,
    ViewName,
)
from ganterm.text import clean

SPANS = (None, 2000, 200)
"""Rows that the charts show: all, or the newest so many."""

ACTIONS: tuple[tuple[str, str, str, str], ...] = (
    ("space", "space", "pause", "pause, or go on"),
    ("full_stop", ".", "one_step", "pause, then one step at a time"),
    ("colon", ":", "prompt", "set any control by name"),
    ("v", "v", "view(1)", "samples: next view (classes, real, walk, nearest)"),
    ("V", "V", "view(-1)", "samples: the view before"),
    ("e", "e", "painter", "samples: raw generator, averaged one, both"),
    (
        "pagedown",
        "pgdn",
        "page(1)",
        "samples: more classes; diagnosis: more readings",
    ),
    ("pageup", "pgup", "page(-1)", "samples: the classes before; diagnosis: the readings before"),
    ("r", "r", "new_noise", "fresh fixed noise for the sample picture"),
    ("w", "w", "checkpoint", "write a checkpoint"),
    ("s", "s", "save_samples", "save a PNG of the samples in the run directory"),
    ("p", "p", "picture", "save a screenshot (SVG) in the run directory"),
    ("z", "z", "zoom", "charts: whole run, newest 2,000 rows, newest 200"),
    ("1", "1", "body('overview')", "the overview"),
    ("2", "2", "body('diagnosis')", "diagnosis in full: scores, modes, layers, readings"),
    ("exclamation_mark", "!", "alarms", "alarms: their figures, what to try, and the past ones"),
    ("R", "R", "restart", "after a failure: go on from the newest checkpoint"),
    ("question_mark", "?", "help", "this help"),
    ("q,ctrl+q", "q", "quit", "end the run, or leave it training; asked first"),
)
"""Textual's key, the key as shown, the action, and what it does."""


def _bindings() -> list[BindingType]:
    made: list[BindingType] = [
        Binding(key, f"nudge('{knob.name}', {direction})", f"{knob.label} {way}", show=False)
        for knob in KNOBS.values()
        if knob.keys
        for key, direction, way in zip(knob.keys, (-1, 1), ("down", "up"), strict=True)
    ]
    # The prompt's key goes before all others, so that what follows it at once is typed into it.
    made += [
        Binding(key, action, does, show=False, priority=action == "prompt")
        for key, _, action, does in ACTIONS
    ]
    made.append(Binding("ctrl+c", "interrupt", "stop", show=False, priority=True))
    made.append(Binding("ctrl+z", "suspend_process", "suspend", show=False, priority=True))
    return made


class Dashboard(TerminalApp[int]):
    """Shows a session and steers it; ``run`` returns the process's exit code.

    ``suspends``: whether ctrl+z may stop this process, which is so where it trains nothing itself.
    ``again``: called when the user wants a failed run to go on from its newest checkpoint; raises
    UserError where it cannot. ``leaving_now`` is set where the user would not wait for the last
    save, ``left_training`` where the run is to go on without a screen. No error in drawing ends the
    app: it is shown in its panel's place, or told.
    """

    TITLE = "ganterm"
    CSS = LAYOUT_CSS
    ALLOW_SELECT = False
    BINDINGS: ClassVar[list[BindingType]] = _bindings()

    def __init__(
        self,
        session: Session,
        glyphs: Glyphs | None = None,
        line: Line | None = None,
        colors: Colors = "truecolor",
        suspends: bool = False,
        again: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(line, colors)
        self.session = session
        self.leaving_now = False
        self.left_training = False
        self._gone = False
        self._suspends = suspends
        self._again = again
        self._crashes: set[str] = set()
        self.use_glyphs(glyphs or Glyphs())
        self._steering = Steering(session)
        self._budget = Budget()
        self._looking = Looking()
        self._zoom = 0
        self._events_seen = 0
        self._shown: tuple[object, ...] = ()
        self._sample_shown: Sample | None = None
        self._exit_code: int | None = None
        self._rung: set[tuple[str, int]] | None = None
        self._cockpit = CockpitScreen()

    def get_default_screen(self) -> Screen[Any]:
        """The cockpit."""
        return self._cockpit

    def on_mount(self) -> None:
        """Ask for samples and begin to tick."""
        if self.line is not None:
            self.line.caught_up = partial(self.call_soon, self._repaint)
        self.session.watch(SAMPLES_PER_S)
        self.session.note("attach", screen=f"{self.size.width}x{self.size.height}")
        self.set_interval(1 / CHARTS_PER_S, self.tick)
        self.call_after_refresh(self.tick)

    def tick(self) -> None:
        """Look at the session, draw what changed, leave where there is nothing left to watch."""
        try:
            self._tick()
        except Exception as error:  # noqa: BLE001 - the run matters more than its picture
            self.crashed("the dashboard", error)

    def _tick(self) -> None:
        budget, line = self._budget, self.line
        snapshot = self.session.snapshot
        behind, stalled = (line.behind, line.stalled) if line is not None else (False, False)
        judged = snapshot.state != "loading" and not stalled
        budget.tick(line.sent if line is not None else 0, judged, behind)
        events = self.session.events()
        self._ring(snapshot)
        self._steering.settle(snapshot, events[self._events_seen :])
        self._events_seen = len(events)
        if snapshot.failure is not None and snapshot.failure.mistake:
            self.exit(2)
        elif self._exit_code is not None and snapshot.state in ENDED:
            self.exit(self._exit_code)
        charts_per_s, samples_per_s = budget.rates
        view = self._looking.view
        self._ask_for_samples()
        asked = dict(self._steering.asked)
        link = self.session.link
        told = (link.state, int(link.age) if link.state == "stale" else 0)
        now_shown = (snapshot, len(events), asked, self._zoom, view, budget.cost, told)
        # A last tick may come when the screens are gone already.
        screens = self.screen_stack if self._cockpit.is_mounted else []
        unseen = not screens or isinstance(screens[-1], HelpScreen) or behind
        sample, shown = snapshot.sample, self._sample_shown
        turned = sample is None or shown is None or sample.view != shown.view
        samples_due = budget.due(samples_per_s) or snapshot.state in ENDED
        fresh = sample is not shown and (samples_due or turned)
        changed = fresh or now_shown != self._shown
        if not budget.due(charts_per_s) or not changed or unseen:
            return
        self._shown = now_shown
        self._show(snapshot, fresh)

    def _ring(self, snapshot: Snapshot) -> None:
        """Ring the terminal's bell once for each alarm that was not there when this began."""
        raised = {
            (alarm.name, alarm.raised) for alarm in snapshot.alarms if alarm.severity == "alarm"
        }
        if self._rung is not None and raised - self._rung:
            self.bell()
        self._rung = raised

    def _repaint(self) -> None:
        """The terminal reads again, and has not seen all that was drawn: draw all of it anew."""
        self._shown = ()
        self.tick()
        self.refresh()

    def _show(self, snapshot: Snapshot, fresh: bool = False) -> None:
        if fresh:
            self._sample_shown = snapshot.sample
        frame = Frame(
            snapshot,
            self.session.history,
            self.session.events(),
            self._steering.asked,
            self._glyphs,
            self._budget.cost,
            SPANS[self._zoom],
            self._looking.view,
            self.session.link,
        )
        self._cockpit.show(frame, fresh)

    def action_nudge(self, name: str, direction: int) -> None:
        """Ask for a control's next value."""
        if not self._locked():
            self._steering.nudge(name, direction)

    async def action_prompt(self) -> None:
        """Open the `:` prompt, focused before the next key is looked at: typing may be fast."""
        if self._locked():
            return

        def ask(answer: tuple[str, Value] | None) -> None:
            if answer is not None:
                self._steering.ask(*answer, "prompt")

        prompt = PromptScreen(self.session.snapshot.controls)
        await self.push_screen(prompt, ask)
        prompt.set_focus(prompt.query_one(Input))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """A colon typed into the prompt is text."""
        return not (action == "prompt" and isinstance(self.screen, PromptScreen))

    def action_pause(self) -> None:
        """Pause, or go on."""
        if self._locked():
            return
        self.submit(Unpause() if self._steering.pause_or_go_on() else Pause())

    def action_one_step(self) -> None:
        """One iteration, then rest."""
        self.submit(OneStep())

    def action_view(self, direction: int) -> None:
        """The samples' next view."""
        if not self._over():
            self._looking.turn(direction, self.session.snapshot.info.views)
            self._look()

    def action_painter(self) -> None:
        """G as it is, its average, or both."""
        if not self._over():
            self._looking.next_painter(self.session.snapshot.info.views)
            self._look()

    def action_body(self, name: str) -> None:
        """The overview, or diagnosis in full."""
        if self._cockpit.body == name:
            return
        self._cockpit.turn_to(name)
        self._ask_for_samples()
        # Panels have their size only once they are laid out.
        self.call_after_refresh(self._show, self.session.snapshot, True)

    def action_alarms(self) -> None:
        """What is wrong, what to try, and what was raised before."""

        def chosen(remedy: Remedy | None) -> None:
            if remedy is not None and not self._locked():
                self._carry_out(remedy)

        alarms, events = self.session.snapshot.alarms, self.session.events()
        self.push_screen(AlarmsScreen(alarms, events, self._glyphs), chosen)

    def _carry_out(self, remedy: Remedy) -> None:
        """Do what a remedy says, as if its key were pressed; logged as an alarm's doing."""
        press = remedy.press
        for knob in KNOBS.values():
            if knob.keys and press in knob.keys:
                way = 2 * knob.keys.index(press) - 1
                self._told(knob.name, self._steering.nudge(knob.name, way, "alarm"))
                return
        if press.startswith(":"):
            try:
                name, value = parse_assignment(press[1:])
                self.session.snapshot.controls.with_(name, value)
            except ControlError as error:
                self.notify(str(error), severity="error")
                return
            self._told(name, self._steering.ask(name, value, "alarm"))
            return
        actions = {shown: action for _, shown, action, _ in ACTIONS}
        if press in actions:
            self.call_later(self.run_action, actions[press])
        else:
            self.notify(f"There is no key {press}.", severity="error")

    def _told(self, name: str, asked: bool) -> None:
        """Say so where a remedy has nothing left to change."""
        if not asked:
            knob, controls = KNOBS[name], self.session.snapshot.controls
            value = self._steering.asked.get(name, controls.value(name))
            self.notify(f"{knob.label} is {knob.show(value)} already.", timeout=3)

    def action_page(self, direction: int) -> None:
        """The samples' next rows, or the next readings, where there are more than fit."""
        if self._cockpit.body == "diagnosis":
            self._cockpit.query_one(ReadingsPanel).turn(direction)
        elif not self._over():
            shown = self._cockpit.query_one(SamplesPanel).rows_shown
            self._looking.page(direction, self.session.snapshot.sample, shown)
            self._look()

    def action_see(self, name: ViewName) -> None:
        """That view of the samples, where the run has it."""
        views = self.session.snapshot.info.views
        if name not in views:
            told = f"This run has no view {name}; it has {', '.join(views)}."
            self.notify(told, severity="warning", timeout=3)
        elif not self._over():
            self._looking.see(name)
            self._look()

    def _look(self) -> None:
        """Tell the trainer at once what is wanted, and the user that it is coming."""
        self._ask_for_samples()
        if self._cockpit.is_mounted:
            self._show(self.session.snapshot, fresh=True)

    def _ask_for_samples(self) -> None:
        """Of the view that is looked at; none while nobody sees them."""
        seen = self._cockpit.body == "overview"
        self.session.watch(self._budget.rates[1] if seen else 0, self._looking.view)

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
        keys = [(shown, does) for _, shown, _, does in ACTIONS]
        keys += [("ctrl+p", "command palette"), ("ctrl+c", "end the run; asks first")]
        keys += [("ctrl+z", "suspend, where this process does not train")]
        self.push_screen(HelpScreen(self.session.snapshot.controls, keys))

    async def action_quit(self) -> None:
        """Ask whether to stop; with nothing to stop, leave."""
        self._ask_to_quit()

    def _ask_to_quit(self) -> None:
        if self._nothing_to_lose():
            return
        if self.session.link.readonly:
            self._leave(0)
            return

        def answered(answer: Answer | None) -> None:
            if answer == "stop":
                self._stop("stopped from the dashboard", 0)
            elif answer == "leave":
                self._leave(0)

        self.push_screen(QuitScreen(self._attached), answered)

    def action_interrupt(self) -> None:
        """Ctrl+C: the first asks, the second stops and saves, the third leaves now.

        Attached, the second leaves: the run is not this process's to end by a hurried hand.
        """
        if self._exit_code is not None:
            self.leaving_now = True
            self.exit(130)
        elif isinstance(self.screen, QuitScreen):
            self.screen.dismiss("cancel")
            if self._attached:
                self._leave(130)
            else:
                self._stop("ctrl+c", 130)
        else:
            self._ask_to_quit()

    @property
    def _attached(self) -> bool:
        """Whether the run lives in another process."""
        return self.session.link.state != "here"

    def use_glyphs(self, glyphs: Glyphs) -> None:
        """Draw with these characters from the next frame on."""
        self._glyphs = glyphs
        self.set_class(not glyphs.unicode, "ascii")

    def crashed(self, where: str, error: Exception) -> None:
        """Tell, once, of an error of the dashboard's own, which the run has nothing to do with."""
        told = f"{where}: {clean(f'{type(error).__name__}: {error}', 200)}"
        if told not in self._crashes:
            self._crashes.add(told)
            self.session.note("note", text=f"error in {told}")
            self.notify(f"Error in {told}", severity="error", timeout=10)

    async def run_action(self, *args: Any, **options: Any) -> bool:
        """Do what a key means; an error in it is told and ends nothing."""
        try:
            return await super().run_action(*args, **options)
        except Exception as error:  # noqa: BLE001 - the run matters more than a key
            self.crashed(f"action {args[0]}", error)
            return True

    def action_suspend_process(self) -> None:
        """Ctrl+Z: stop this process until it is continued, where that does not stop training."""
        driver = self._driver
        if not self._suspends:
            self.notify(
                "Ctrl+Z would stop the training too; q leaves or ends it.",
                severity="warning",
                timeout=5,
            )
        elif isinstance(driver, TerminalDriver):
            driver.suspend()

    def action_restart(self) -> None:
        """Go on from the newest checkpoint, after a failure."""
        if self.session.snapshot.state != "failed":
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

    def submit(self, command: Command) -> None:
        """Hand a command to the trainer, as long as there is one that takes it."""
        if not self._locked():
            self.session.submit(command)

    def _locked(self) -> bool:
        """Whether commands are not taken, which is told."""
        if self._over():
            return True
        link = self.session.link
        if link.readonly:
            self.notify("Read-only: this dashboard looks on, and that is all.", timeout=2)
        elif link.state == "stale":
            self.notify("The trainer is silent; nothing can be asked of it now.", timeout=2)
        return link.readonly or link.state == "stale"

    def _over(self) -> bool:
        """Whether the run has ended, which is told: no key can change it any more."""
        if self.session.snapshot.state not in ENDED:
            return False
        self.notify("The run is over; q leaves.", timeout=2)
        return True

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """Every action, and every control up, down and by value."""
        for _, shown, action, does in ACTIONS:
            run = partial(self.run_action, action)
            yield SystemCommand(f"{does[0].upper()}{does[1:]}", f"key {shown}", run)
        for name in self.session.snapshot.info.views:
            yield SystemCommand(f"View {name}", VIEWS[name], partial(self.action_see, name))
        for knob in KNOBS.values():
            keys = knob.keys or ("", "")
            for direction, way, key in ((-1, "down", keys[0]), (1, "up", keys[1])):
                told = f"{knob.help} key {key}" if key else knob.help
                nudge = partial(self.action_nudge, knob.name, direction)
                yield SystemCommand(f"{knob.name} {way}", told, nudge)
            for choice in knob.choices:
                ask = partial(self._choose, knob.name, choice)
                yield SystemCommand(f"{knob.name} {choice}", knob.help, ask)

    def _choose(self, name: str, choice: str) -> None:
        if not self._locked():
            self._steering.ask(name, choice, "palette")

    def _nothing_to_lose(self) -> bool:
        state = self.session.snapshot.state
        if state in ENDED:
            self.exit(1 if state == "failed" else 0)
        return state in ENDED

    def _stop(self, reason: str, code: int) -> None:
        if self._locked():
            return
        self._exit_code = code
        self.say_goodbye()
        self.submit(Stop(reason))
        self.notify("Finishing the step, saving…", timeout=30)

    def _leave(self, code: int) -> None:
        """Close the dashboard; the run goes on."""
        self.say_goodbye()
        self.session.watch(0)
        self.left_training = True
        self.exit(code)

    def say_goodbye(self, cause: str = "") -> None:
        """Log that this watcher leaves, why where the user did not say so, and what watching has
        cost; any thread may call it."""
        if self._gone:
            return
        self._gone = True
        cost = self._budget.cost
        self.session.note(
            "detach",
            **({"cause": cause} if cause else {}),
            ticks=self._budget.measured_ticks,
            busy_s=round(self._budget.busy, 3),
            ui_share=round(cost.share, 4),
            bytes_per_s=round(cost.bytes_per_s),
        )
