"""An app that shows a session: it hands on commands, reports errors, and asks before it quits."""

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

    ``suspends``: whether ctrl+z may stop this process; it may where the process trains nothing.
    ``leaving_now``: the user does not wait for the last save. ``left_training``: the run goes on
    without a screen. An error of the app itself is shown and does not end it.
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
        """Whether the session takes no commands now; a notice then says why."""
        if self.over():
            return True
        link = self.session.link
        if link.readonly:
            self.notify("Read-only: this dashboard cannot change the run.", timeout=2)
        elif link.state == "stale":
            self.notify("The trainer is silent; it cannot take commands now.", timeout=2)
        return link.readonly or link.state == "stale"

    def over(self) -> bool:
        """Whether the run has ended, so that no key can change it; a notice then says so."""
        if self.session.snapshot.state not in ENDED:
            return False
        self.notify("The run is over; q leaves.", timeout=2)
        return True

    def crashed(self, where: str, error: Exception) -> None:
        """Show and log an error of the dashboard itself, once; the run is not affected."""
        message = f"{where}: {clean(f'{type(error).__name__}: {error}', 200)}"
        if message not in self._crashes:
            self._crashes.add(message)
            self.session.note("note", text=f"error in {message}")
            self.notify(f"Error in {message}", severity="error", timeout=10)

    async def run_action(self, *args: Any, **options: Any) -> bool:
        """Perform a key's action; an error in it is shown and does not end the app."""
        try:
            return await super().run_action(*args, **options)
        except Exception as error:  # noqa: BLE001 - the run matters more than a key
            self.crashed(f"action {args[0]}", error)
            return True

    async def action_quit(self) -> None:
        """Ask whether to stop the run, or leave at once where there is nothing to stop."""
        self._ask_to_quit()

    def _ask_to_quit(self) -> None:
        state = self.session.snapshot.state
        if state in ENDED:
            self.exit(1 if state == "failed" else 0)
            return
        if self.session.link.readonly:
            self._leave(0)
            return

        def act(answer: Answer | None) -> None:
            if answer == "stop":
                self._stop("stopped from the dashboard", 0)
            elif answer == "leave":
                self._leave(0)

        self.push_screen(QuitScreen(self._attached), act)

    def action_interrupt(self) -> None:
        """Ctrl+C: the first asks, the second stops and saves, the third leaves now.

        In an attached dashboard the second leaves the run training, because the run belongs to
        another process.
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
        """Ctrl+Z: suspend this process, unless that would stop training."""
        driver = self._driver
        if not self._suspends:
            self.notify(
                "Ctrl+Z would stop the training too; q leaves or ends the run.",
                severity="warning",
                timeout=5,
            )
        elif isinstance(driver, TerminalDriver):
            driver.suspend()

    @property
    def _attached(self) -> bool:
        """Whether the run trains in another process."""
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
        """Log that this watcher leaves, and what watching has cost; any thread may call it.

        ``cause``: why it leaves; "" where the user wanted it.
        """
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
        """Exit once a run has ended that the user stopped, or that a user's mistake ended."""
        snapshot = self.session.snapshot
        if snapshot.failure is not None and snapshot.failure.mistake:
            self.exit(2)
        elif self._exit_code is not None and snapshot.state in ENDED:
            self.exit(self._exit_code)
