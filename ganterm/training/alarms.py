"""The alarms of a run: raised and cleared, by the rules of diagnosis and by the trainer itself."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import NamedTuple

from ganterm.core.events import AlarmState
from ganterm.core.findings import Alarm, Outlook, Remedy
from ganterm.core.text import clean
from ganterm.diagnosis.remedies import available
from ganterm.diagnosis.rule import Finding, Record, Rule, network_alarms, rules


@dataclass
class _Streak:
    """Judgements that count, such as those in a row for a change, and the step of the first."""

    count: int = 0
    since: int = 0

    def add(self, step: int, apart: int) -> None:
        """Count a judgement, unless it comes too soon; see ``Rule``."""
        if not self.count:
            self.count, self.since = 1, step
        elif step >= self.next(apart):
            self.count += 1

    def next(self, apart: int) -> int:
        """The step from which on another judgement counts."""
        return self.since + self.count * apart


class Urgency(NamedTuple):
    """Another round that is wanted from ``step`` on, with the exams of ``measures``."""

    step: int
    measures: frozenset[str]


class Alarms:
    """Those that are raised, by name; ``tell`` is called with each that is raised or cleared.

    ``before`` and ``streaks``: those that were raised when the run was left, and what spoke for a
    change by then. ``way_back``: what goes back to before a step, the first remedy of what is worse
    than a warning; None where nothing does.
    """

    def __init__(
        self,
        tell: Callable[[Alarm, AlarmState], None],
        before: Iterable[Alarm] = (),
        streaks: Mapping[str, tuple[int, int]] = MappingProxyType({}),
        way_back: Callable[[int], Remedy | None] = lambda since: None,
    ) -> None:
        self._tell = tell
        self._way_back = way_back
        self._rules = rules()
        self._judging = list(self._rules)
        self._streaks = self._streaks_from(streaks)
        self._judged: defaultdict[str, _Streak] = defaultdict(_Streak)
        self._doubtful = {name for name, streak in self._streaks.items() if streak.count}
        self.raised = {alarm.name: alarm for alarm in before}

    @property
    def outlook(self) -> Outlook:
        """What may be said of the run beside the alarms that are raised."""
        sure = all(
            self._judged[rule.name].count >= rule.raise_after for rule in self._rules if rule.vital
        )
        doubts = sorted(self._doubts(), key=lambda rule: rule.severity != "alarm")
        return Outlook(sure, doubt=doubts[0].title if doubts else "")

    @property
    def urgency(self) -> Urgency | None:
        """The round that first findings call for; None where nothing is to be looked at again."""
        doubts = [rule for rule in self._doubts() if rule.exams]
        if not doubts:
            return None
        step = min(self._streaks[rule.name].next(rule.apart) for rule in doubts)
        return Urgency(step, frozenset(name for rule in doubts for name in rule.measures))

    def _doubts(self) -> list[Rule]:
        """Rules whose newest judgement is a finding that raises no alarm yet."""
        if not self._doubtful:  # Nearly always, and asked every step.
            return []
        return [
            rule
            for rule in self._rules
            if rule.name in self._doubtful and rule.name not in self.raised
        ]

    @property
    def streaks(self) -> dict[str, tuple[int, int]]:
        """By rule: how many judgements in a row ask for a change, and the step of the first one."""
        return {
            name: (streak.count, streak.since)
            for name, streak in self._streaks.items()
            if streak.count
        }

    def go_back(self, before: Iterable[Alarm], streaks: Mapping[str, tuple[int, int]]) -> None:
        """Have the alarms about the training be those of an earlier step; the others stay."""
        earlier = {alarm.name: alarm for alarm in before if alarm.name in self._of_training}
        for name in tuple(self.raised):
            if name in self._of_training and name not in earlier:
                self.clear(name)
        self.raised.update(earlier)
        self._streaks = self._streaks_from(streaks)
        self._judged.clear()
        self._doubtful = {name for name, streak in self._streaks.items() if streak.count}

    @property
    def _of_training(self) -> frozenset[str]:
        return network_alarms() | {rule.name for rule in self._rules}

    def _streaks_from(self, counts: Mapping[str, tuple[int, int]]) -> dict[str, _Streak]:
        return {rule.name: _Streak(*counts.get(rule.name, (0, 0))) for rule in self._rules}

    def raise_(self, alarm: Alarm) -> None:
        """Raise an alarm, or renew what a raised one says."""
        new = alarm.name not in self.raised
        self.raised[alarm.name] = alarm
        if new:
            self._tell(alarm, "raised")

    def clear(self, name: str) -> None:
        """Clear an alarm that is raised."""
        self._tell(self.raised.pop(name), "cleared")

    def judge(self, record: Record, examined: bool = True) -> None:
        """Have the rules judge what is known; without a round of exams those that need none.

        One that fails does not judge again, and a warning says so.
        """
        for rule in tuple(self._judging):
            if rule.exams and not examined:
                continue
            try:
                self._judge(rule, record)
            except Exception as error:  # noqa: BLE001 - whatever is wrong with it, the run is not
                self._judging.remove(rule)
                self._doubtful.discard(rule.name)
                why = clean(f"{type(error).__name__}: {error}", 200)
                told = f"the rule {rule.name} failed and does not judge again: {why}"
                name = f"rule_{rule.name}"
                self.raise_(Alarm(name, "Rule failed", told, record.step, record.step, "warning"))

    def _judge(self, rule: Rule, record: Record) -> None:
        raised = self.raised.get(rule.name)
        verdict = rule.judge(record, raised is not None)
        (self._doubtful.add if verdict else self._doubtful.discard)(rule.name)
        if verdict is None:
            return
        self._judged[rule.name].add(record.step, rule.apart)
        streak = self._streaks[rule.name]
        if bool(verdict) == (raised is not None):
            streak.count = 0
        else:
            streak.add(record.step, rule.apart)
        if isinstance(verdict, Finding):
            self._found(rule, verdict, record, raised, streak)
        elif raised is not None and streak.count >= rule.clear_after:
            streak.count = 0
            self.clear(rule.name)

    def _found(
        self, rule: Rule, found: Finding, record: Record, raised: Alarm | None, streak: _Streak
    ) -> None:
        if raised is not None:
            self.raised[rule.name] = replace(
                raised,
                message=found.message,
                evidence=found.evidence,
                remedies=self._remedies(rule, record, raised.since),
            )
        elif found.certain or streak.count >= rule.raise_after:
            since = streak.since if found.since is None else found.since
            streak.count = 0
            self.raise_(
                Alarm(
                    rule.name,
                    rule.title,
                    found.message,
                    since,
                    record.step,
                    rule.severity,
                    found.evidence,
                    self._remedies(rule, record, since),
                )
            )

    def _remedies(self, rule: Rule, record: Record, since: int) -> tuple[Remedy, ...]:
        back = self._way_back(since) if rule.name in network_alarms() else None
        return available(back, *rule.remedies(record))
