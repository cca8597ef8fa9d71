"""The server beside a trainer, asked by clients of this process; and by what is none."""

from __future__ import annotations

import fcntl
import math
import os
import random
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import psutil
import pytest

from ganterm.cli import runs
from ganterm.core.metrics import METRICS
from ganterm.core.snapshot import DEFAULT_VIEW, NewNoise, Pause, Session, SetControl, Unpause, View
from ganterm.dashboard.app import Dashboard
from ganterm.launch import Launch
from ganterm.session import address, peers, server, wire
from ganterm.session import client as client_module
from ganterm.session.address import Door, pointers
from ganterm.session.board import Board
from ganterm.session.client import RemoteSession
from ganterm.session.local import LocalSession
from tests.dashboard.test_dashboard import screen_text
from tests.helpers.deadlines import DEADLINE, until
from tests.helpers.frames import HEAD, framed, packed
from tests.helpers.terminal import GANTERM

Make = Callable[..., Launch]
ID = "01234567-89ab-cdef-0123-456789abcdef"


@contextmanager
def attached(readonly: bool = False) -> Iterator[RemoteSession]:
    """A client of the only live run."""
    (found,) = pointers()
    session = RemoteSession(found, readonly)
    session.start()
    yield session
    session.close()


def plain() -> socket.socket:
    """A connection with nothing said yet."""
    (found,) = pointers()
    return address.connect_to(found)


def goes_on(session: Session, steps: int = 5) -> None:
    before = session.snapshot.step
    until(lambda: session.snapshot.step >= before + steps)


def all_of(connection: socket.socket) -> bytes:
    """What comes until the other side hangs up."""
    content = b""
    with suppress(ConnectionResetError):
        while chunk := connection.recv(1 << 16):
            content += chunk
    return content


def logged(run: Path, kind: str) -> list[dict[str, Any]]:
    lines = (run / "events.jsonl").read_bytes().splitlines()
    return [event for line in lines if (event := msgspec.json.decode(line))["kind"] == kind]


def test_a_client_sees_what_the_trainer_shows(live: LocalSession) -> None:
    with attached() as session:
        session.watch(5.0, View("samples"))
        session.submit(Pause())
        until(lambda: session.snapshot.state == "paused" and session.snapshot.sample is not None)
        until(lambda: session.history.rows == session.snapshot.step == live.snapshot.step)
        until(lambda: len(session.events()) == len(live.events()))
        here, there = live.snapshot, session.snapshot
        assert there.info == replace(here.info, directory=str(Path(here.info.directory).resolve()))
        assert (there.controls, there.counters) == (here.controls, here.counters)
        assert there.scalars == here.scalars
        assert np.array_equal(there.sample.images, here.sample.images)
        assert there.diagnosis.measures == here.diagnosis.measures
        assert [e.table() for e in session.events()] == [e.table() for e in live.events()]
        rows = [
            msgspec.json.decode(line)
            for line in (Path(here.info.directory) / "metrics.jsonl").read_bytes().splitlines()[1:]
        ]
        for name in METRICS:
            steps, values = session.history.newest(name, 10**9)
            known = [np.float32(np.nan if row[name] is None else row[name]) for row in rows]
            assert steps.tolist() == [row["step"] for row in rows]
            assert np.array_equal(values, np.array(known, np.float32), equal_nan=True)
        assert session.link.state == "attached"


def test_a_command_is_answered_with_the_step_it_acts_in_and_names_its_sender(
    live: LocalSession,
) -> None:
    with attached() as one, attached() as other:
        answer = one.answer(one.ask(SetControl("k", 3)), 60)
        assert answer is not None and not answer.refused
        until(lambda: other.snapshot.controls.k == 3)
        (change,) = until(lambda: logged(Path(live.snapshot.info.directory), "change"))
        assert (change["step"], change["key"], change["to"]) == (answer.step, "k", 3)
        assert change["by"] == peers.display_name(os.getpid(), peers.my_terminal())
        again = one.answer(one.ask(SetControl("k", 3)), 60)
        assert again is not None and again.step > answer.step and not again.refused
        refused = one.answer(one.ask(SetControl("loss", "began")), 60)
        assert refused is not None and "another D" in refused.refused
        noise = other.answer(other.ask(NewNoise()), 60)
        assert noise is not None and not noise.refused
    assert len(logged(Path(live.snapshot.info.directory), "change")) == 1


def test_who_only_looks_on_changes_nothing(live: LocalSession) -> None:
    with attached(readonly=True) as session:
        for command in (SetControl("k", 3), Pause()):
            answer = session.answer(session.ask(command), 60)
            assert answer is not None and "read-only" in answer.refused
        session.watch(5.0, View("samples"))
        until(lambda: session.snapshot.sample is not None)
        goes_on(session)
    assert live.snapshot.controls.k == 1 and live.snapshot.state == "running"


async def test_the_dashboard_attached(live: LocalSession) -> None:
    with attached() as session:
        app = Dashboard(session)
        async with app.run_test(size=(120, 36)) as pilot:
            await pilot.press("K")
            while session.snapshot.controls.k != 2:
                await pilot.pause(0.05)
            app.tick()
            await pilot.pause(0.3)
            assert "attached" in screen_text(app)
            await pilot.press("q")
            await pilot.pause(0.1)
            assert "leave it training" in screen_text(app)
            await pilot.press("enter")
        assert app.return_code == 0 and app.left_training
    goes_on(live)
    run = Path(live.snapshot.info.directory)
    who = peers.display_name(os.getpid(), peers.my_terminal())
    assert [e["by"] for e in until(lambda: logged(run, "attach"))] == [who]
    assert [e["by"] for e in until(lambda: logged(run, "detach"))] == [who]
    until(lambda: live.samples_per_s == 0)


async def test_the_dashboard_of_who_only_looks_on(
    live: LocalSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    with attached(readonly=True) as session:
        app = Dashboard(session)
        monkeypatch.setattr(app, "notify", lambda message, **_: told.append(message))
        async with app.run_test(size=(120, 36)) as pilot:
            await pilot.press("K", "space", "colon")
            app.tick()
            await pilot.pause(0.3)
            assert "read-only" in screen_text(app)
            assert len(told) == 3 and all("Read-only" in message for message in told)
            await pilot.press("q")
        assert app.return_code == 0
    assert live.snapshot.controls.k == 1 and live.snapshot.state == "running"


def test_a_client_that_never_reads_is_not_waited_for(live: LocalSession) -> None:
    with plain() as deaf, attached() as session:
        deaf.sendall(wire.frame(wire.Hello(wire.PROTOCOL)) + wire.frame(wire.Watch(10.0)))
        session.watch(10.0)
        seen = {id(session.snapshot.sample)}
        while len(seen) < 5:
            goes_on(session, 1)
            seen.add(id(session.snapshot.sample))
        # What waits for it is a set of messages, not one of each that was there to be seen.
        deaf.settimeout(2.0)
        assert 0 < len(deaf.recv(1 << 26)) < 1 << 22
    goes_on(live)


def test_watchers_come_up_to_a_limit_and_room_is_made_again(
    live: LocalSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "MOST_WATCHERS", 3)
    hello = wire.frame(wire.Hello(wire.PROTOCOL))
    there = []
    for _ in range(3):
        there.append(plain())
        there[-1].sendall(hello)
        assert there[-1].recv(10)
    with plain() as fourth:
        assert all_of(fourth) == b""
    for connection in there:
        connection.close()
    until(lambda: not live._server.watchers)
    with attached() as session:
        goes_on(session)


def test_the_newest_wish_of_a_view_wins_and_who_leaves_wishes_nothing() -> None:
    board = Board()
    board.watch(2.0, View("samples"))
    board.watch(5.0, View("classes"), "a")
    board.watch(1.0, View("samples"))
    assert (board.samples_per_s, board.view.name) == (5.0, "classes")
    board.watch(1.0, View("real"))
    assert board.view.name == "real"
    board.unwatch("a")
    assert (board.samples_per_s, board.view.name) == (1.0, "real")
    board.watch(0.0, DEFAULT_VIEW)
    assert board.samples_per_s == 0


def hostile(random_: random.Random) -> bytes:
    """Something that no client of ours would send."""
    hello = wire.frame(wire.Hello(wire.PROTOCOL))
    valid = wire.frame(wire.Do(1, SetControl("k", 2)))
    mutated = bytearray(valid)
    mutated[random_.randrange(len(valid))] = random_.randrange(256)
    payload = {"type": "Note", "kind": "attach", "data": {"a": "\x1b]52;c;AAAA\x07"}}
    return random_.choice(
        [
            random_.randbytes(random_.randrange(1, 3000)),
            framed(random_.randbytes(300)),
            framed(b"\x91" * 60_000),
            hello + framed(packed({"type": "Watch", "samples_per_s": math.nan})),
            hello + framed(packed({"type": "Watch", "samples_per_s": math.inf})),
            hello + framed(packed({"type": "Do", "number": 1 << 63, "command": ["Pause", {}]})),
            hello + framed(b"\xdd\xff\xff\xff\xff"),
            b"x" * 200_000,
            b"\0" * 200_000,
            hello + framed(b"x" * 200_000),
            hello + framed(packed(payload)),
            hello + wire.frame(wire.Note("attach", {"a": "\x1b[2J\x9b1m"})),
            hello + bytes(mutated),
            hello + framed(packed({"type": "Do", "number": 1, "command": ["__class__", {}]})),
            b'{"is":"Hello","protocol":1}\n',
            b"GET / HTTP/1.1\r\n\r\n",
            hello[:-5],
            b"",
        ]
    )


def test_a_watcher_of_the_old_protocol_gets_one_line_that_it_understands(
    live: LocalSession,
) -> None:
    with plain() as old:
        old.sendall(b'{"is":"Hello","protocol":1,"readonly":false,"terminal":""}\n')
        (line,) = all_of(old).splitlines()
    goodbye = msgspec.json.decode(line)
    assert (goodbye["is"], goodbye["ended"]) == ("Goodbye", False)
    assert "speaks protocol 2; attach with the ganterm that trains it" in goodbye["why"]
    goes_on(live)


def test_a_watcher_of_a_later_protocol_is_told_which_one_the_run_speaks(
    live: LocalSession,
) -> None:
    with plain() as later:
        later.sendall(wire.frame(wire.Hello(99)))
        goodbye = wire.server_message(all_of(later)[HEAD:])
    assert isinstance(goodbye, wire.Goodbye) and "this run speaks 2" in goodbye.why


def test_no_nonsense_harms_the_trainer(live: LocalSession) -> None:
    end, count, dice = time.monotonic() + 3, 0, random.Random(5)
    while time.monotonic() < end:
        with suppress(OSError), plain() as connection:
            connection.settimeout(0.05)
            connection.sendall(hostile(dice))
            count += 1
            if dice.random() < 0.3:
                with suppress(TimeoutError):
                    connection.recv(1 << 16)
    assert count > 5
    assert live.unreachable is None and not live.ended.is_set()
    with attached() as session:
        goes_on(session)
    events = (Path(live.snapshot.info.directory) / "events.jsonl").read_text()
    assert "\\u001b" not in events and "\x1b" not in events


FUZZ_SECONDS = 15.0


@pytest.mark.slow
def test_15_seconds_of_nonsense_cost_a_run_of_its_own_process_little(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Against as long of the same nonsense made and sent to nobody, before and behind."""
    words = ["--preset", "mnist_mlp", "--run", "r", "--device", "cpu", "--detach"]
    done = subprocess.run([*GANTERM, *words], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (found,) = pointers()
    host, run, dice, counts = (
        psutil.Process(found.pid),
        tmp_path / "runs" / "r",
        random.Random(7),
        [],
    )

    def steps_during(send: bool) -> int:
        before, end, sent = runs._newest_step(run), time.monotonic() + FUZZ_SECONDS, 0
        while time.monotonic() < end:
            content = hostile(dice)
            if not send:
                time.sleep(0.002)
                continue
            with suppress(OSError), plain() as connection:
                connection.settimeout(0.05)
                connection.sendall(content)
                sent += 1
                if dice.random() < 0.3:
                    connection.recv(1 << 16)
        counts.append(sent)
        return runs._newest_step(run) - before

    try:
        steps_during(False)  # In which training comes to the memory that it needs.
        before = steps_during(False)
        memory, handles = host.memory_info().rss, host.num_fds()
        during = steps_during(True)
        grown = (host.memory_info().rss - memory) / 1e6
        behind = steps_during(False)
        ratio = 2 * during / (before + behind)
        with capsys.disabled():
            print(
                f"\n{sum(counts):,} hostile connections in {FUZZ_SECONDS:.0f} s: {ratio:.3f} of "
                f"the steps without ({before}, {during}, {behind}), {grown:.1f} MB more"
            )
        assert host.is_running() and ratio > 0.85
        assert grown < 20
        until(lambda: host.num_fds() <= handles)
        with attached() as session:
            goes_on(session)
    finally:
        host.kill()


def test_a_flood_of_commands_waits_its_turn(live: LocalSession) -> None:
    with plain() as flood, attached() as session:
        flood.sendall(wire.frame(wire.Hello(wire.PROTOCOL)))
        flood.settimeout(1.0)
        lines = b"".join(wire.frame(wire.Do(n, SetControl("k", 1 + n % 2))) for n in range(20_000))
        with suppress(OSError):
            flood.sendall(lines)
        goes_on(session)
        assert len(live.commands) < 1000


def test_another_user_is_not_let_in(live: LocalSession, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "_peer", lambda connection: peers.Peer(1, os.geteuid() + 1))
    with plain() as stranger:
        assert all_of(stranger) == b""
    monkeypatch.setattr(peers, "_peer", lambda connection: None)
    with plain() as stranger:
        assert all_of(stranger) == b""
    goes_on(live)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_another_user_is_not_let_in_even_where_the_folder_is_open(
    live: LocalSession, runtime: Path
) -> None:
    (found,) = pointers()

    def as_nobody() -> bytes:
        """What somebody else gets to read: an error's number, or what came."""
        hear, tell = os.pipe()
        if not (child := os.fork()):
            told = b"?"
            try:
                os.setgid(65_534)
                os.setuid(65_534)
                with socket.socket(socket.AF_UNIX) as connection:
                    connection.connect(found.socket)
                    connection.settimeout(10)
                    told = b"read " + all_of(connection)
            except OSError as error:
                told = f"errno {error.errno}".encode()
            finally:
                os.write(tell, told)
                os._exit(0)
        os.waitpid(child, 0)
        os.close(tell)
        with os.fdopen(hear, "rb") as told_by_child:
            return told_by_child.read()

    assert as_nobody() == b"errno 13"
    for path in (runtime, Path(found.socket).parent.parent, Path(found.socket).parent):
        path.chmod(0o777)
    Path(found.socket).chmod(0o777)
    assert as_nobody() == b"read "
    goes_on(live)


def test_nothing_listens_on_the_network(live: LocalSession) -> None:
    with attached():
        inet = psutil.Process().net_connections("inet")
    assert [c for c in inet if c.status == psutil.CONN_LISTEN] == []


def test_a_folder_that_vanishes_is_made_again(live: LocalSession, runtime: Path) -> None:
    (found,) = pointers()
    for path in sorted((runtime / "ganterm").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    until(pointers)
    assert pointers() == [found]
    with attached() as session:
        goes_on(session)


def test_what_a_killed_process_left_is_swept_by_its_rules(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    door = Door.open(ID, run)
    assert not address.sweep(door.pointer), "somebody listens"
    door.listener.close()
    lock = records_lock(run)
    assert not address.sweep(door.pointer), "somebody writes into the run"
    os.close(lock)
    assert address.sweep(door.pointer)
    assert pointers() == [] and not Path(door.pointer.socket).exists()


def records_lock(run: Path) -> int:
    handle = os.open(run / "run.lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(handle, fcntl.LOCK_EX)
    return handle


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b"[" * 100_000, b'{"id":"../../x"}', b"\xff" * 10, None],
)
def test_what_is_no_pointer_is_passed_over(
    content: bytes | None, tmp_path: Path, runtime: Path
) -> None:
    door = Door.open(ID, tmp_path)
    folder = runtime / "ganterm" / "v1"
    other = "f" * 8 + ID[8:]
    if content is None:
        # One that leads out of the folder.
        table = msgspec.structs.asdict(door.pointer) | {
            "id": other,
            "socket": str(tmp_path / "x.sock"),
        }
        content = msgspec.json.encode(table)
    (folder / f"{other}.json").write_bytes(content)
    assert pointers() == [door.pointer]
    door.close()
    assert pointers() == []


def test_silence_is_told_and_so_is_its_end(
    live: LocalSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "STALE_SECONDS", 0.5)
    with attached() as session:
        monkeypatch.setattr(server, "TICK_SECONDS", 3.0)
        until(lambda: session.link.state == "stale" and session.link.age > 0.5)
        monkeypatch.setattr(server, "TICK_SECONDS", 0.1)
        until(lambda: session.link.state == "attached")
        goes_on(session)
        session.submit(Pause())
        until(lambda: session.snapshot.state == "paused")
        session.submit(Unpause())


def test_the_end_of_a_run_is_told_with_its_last_step(live: LocalSession) -> None:
    with attached() as session:
        live.stop("enough")
        assert session.ended.wait(DEADLINE)
        assert session.link.state == "ended" and session.snapshot.state == "stopped"
        assert session.snapshot.step == live.snapshot.step == session.history.rows
        assert session.events()[-1].kind == "stop"
    assert live.ended.wait(DEADLINE) and pointers() == []
