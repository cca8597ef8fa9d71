"""An app on a session: what it may ask of the run, what befalls it, and how it is left."""

from __future__ import annotations

from typing import Any

from ganterm.core.snapshot import ENDED, Command, Session, Stop
from ganterm.core.text import clean
from ganterm.dashboard.pace import Pace
from ganterm.dashboard.screens.quit import Answer, QuitScreen
from ganterm.dashboard.terminal.capabilities import Colors
from ganterm.dashboard.terminal.driver import TerminalDriver
from ganterm.dashboard.terminal.line import Line
from ganterm.dashboard.terminal.terminal_app import TerminalApp


class SessionApp(TerminalApp[int]):
    """Hands commands to a session as long as it takes them; ``run`` returns the exit code.

    ``suspends``: whether ctrl+z may stop this process, which is so where it trains nothing itself.
    ``leaving_now`` is set where the user would not wait for the last save, ``left_training`` where
    the run is to go on without a screen. No error of the app's own ends it: it is told.
    """

    def __init__(
        self, session: Session, line: Line | None, colors: Colors, suspends: bool = False
    ) -> None:
        super().__init__(line, colors)
        self.session = session
        self.leaving_now = False
        self.left_training = False
        self._pace = Pace(line)
        self._suspends = suspends
        self._exit_code: int | None = None
        self._gone = False
        self._crashes: set[str] = set()

    def submit(self, command: Command) -> None:
        """Hand a command to the trainer, as long as there is one that takes it."""
        if not self.locked():
            self.session.submit(command)

    def locked(self) -> bool:
        """Whether commands are not taken, which is told."""
        if self.over():
            return True
        link = self.session.link
        if link.readonly:
            self.notify("Read-only: this dashboard looks on, and that is all.", timeout=2)
        elif link.state == "stale":
            self.notify("The trainer is silent; nothing can be asked of it now.", timeout=2)
        return link.readonly or link.state == "stale"

    def over(self) -> bool:
        """Whether the run has ended, which is told: no key can change it any more."""
        if self.session.snapshot.state not in ENDED:
            return False
        self.notify("The run is over; q leaves.", timeout=2)
        return True

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

    async def action_quit(self) -> None:
        """Ask whether to stop; with nothing to stop, leave."""
        self._ask_to_quit()

    def _ask_to_quit(self) -> None:
        state = self.session.snapshot.state
        if state in ENDED:
            self.exit(1 if state == "failed" else 0)
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

    @property
    def _attached(self) -> bool:
        """Whether the run lives in another process."""
        return self.session.link.state != "here"

    def _stop(self, reason: str, code: int) -> None:
        if self.locked():
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
        budget = self._pace.budget
        self.session.note(
            "detach",
            **({"cause": cause} if cause else {}),
            ticks=budget.measured_ticks,
            busy_s=round(budget.busy, 3),
            ui_share=round(budget.cost.share, 4),
            bytes_per_s=round(budget.cost.bytes_per_s),
        )

    def exit_where_over(self) -> None:
        """Leave where a run ended that the user has stopped, or that was a mistake to start."""
        snapshot = self.session.snapshot
        if snapshot.failure is not None and snapshot.failure.mistake:
            self.exit(2)
        elif self._exit_code is not None and snapshot.state in ENDED:
            self.exit(self._exit_code)
