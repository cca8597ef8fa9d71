"""The command line as other programs use it: exit codes, JSON lines, and errors in one or two."""

from __future__ import annotations

import itertools
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from click.testing import CliRunner

from ganterm import presets
from ganterm.bench.turns import interval
from ganterm.cli.commands import cli
from ganterm.core.metrics import METRICS
from ganterm.launch import resumption
from tests.conftest import TINY
from tests.helpers.deadlines import DEADLINE
from tests.helpers.terminal import GANTERM

SMALL = [part for override in TINY for part in ("--set", override)]
TRAIN = ["--preset", "mnist_mlp", "--headless", "--device", "cpu", "--run", "r", *SMALL]


def ganterm(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*GANTERM, *arguments],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        stdin=subprocess.DEVNULL,
    )


def json_lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_json_lines_and_nothing_else(tmp_path: Path) -> None:
    done = ganterm(tmp_path, *TRAIN, "--json", "--steps", "400", "--seed", "4")
    assert done.returncode == 0
    assert done.stderr == ""
    lines = json_lines(done.stdout)
    assert {line["kind"] for line in lines} == {"start", "metrics", "event", "stop"}
    assert lines[0]["kind"] == "start"
    assert lines[0]["seed"] == 4
    assert lines[-1] == {"kind": "stop", "state": "finished", "step": 400, "error": None}
    metrics = [line for line in lines if line["kind"] == "metrics"]
    assert metrics[-1]["step"] == metrics[-1]["metrics"]["step"] == 400
    assert set(METRICS) < set(metrics[-1]["metrics"])
    assert [line["event"]["kind"] for line in lines if line["kind"] == "event"] == ["start", "stop"]


def test_metrics_come_at_least_once_a_second(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*GANTERM, *TRAIN, "--json"], cwd=tmp_path, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    times = []
    for line in process.stdout:
        if json.loads(line)["kind"] == "metrics":
            times.append(time.monotonic())
            if len(times) == 4:
                break
    process.send_signal(signal.SIGTERM)
    rest = json_lines(process.stdout.read())
    assert process.wait(DEADLINE) == 143
    assert rest[-1]["state"] == "stopped"
    gaps = [b - a for a, b in itertools.pairwise(times)]
    assert sorted(gaps)[len(gaps) // 2] < 2, "a shared machine may be late, not by a whole second"


def test_plain_lines_where_there_is_no_terminal(tmp_path: Path) -> None:
    done = ganterm(tmp_path, *TRAIN, "--steps", "20")
    assert done.returncode == 0
    assert "step 20  d_loss" in done.stdout
    assert "finished at step 20" in done.stdout
    assert "\x1b" not in done.stdout


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (signal.SIGINT, 130),
        (signal.SIGTERM, 143),
        (signal.SIGUSR1, 138),
        (signal.SIGQUIT, 131),
        (signal.SIGXCPU, 152),
    ],
)
def test_signals_save_headless(tmp_path: Path, number: signal.Signals, code: int) -> None:
    process = subprocess.Popen([*GANTERM, *TRAIN], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("step ") and "d_loss" in line:
            break
    process.send_signal(number)
    process.stdout.read()
    assert process.wait(DEADLINE) == code
    checkpoints = tmp_path / "runs" / "r" / "checkpoints"
    assert (checkpoints / (checkpoints / "LATEST").read_text().strip() / "MANIFEST.json").exists()
    assert json.loads((tmp_path / "runs" / "r" / "run.json").read_text())["state"] == "stopped"


def test_a_hang_up_ends_neither_the_run_nor_what_is_written_into_a_pipe(tmp_path: Path) -> None:
    process = subprocess.Popen([*GANTERM, *TRAIN], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    reports = (line for line in process.stdout if line.startswith("step ") and "d_loss" in line)
    next(reports)
    process.send_signal(signal.SIGHUP)
    for _ in range(3):
        next(reports)
    process.send_signal(signal.SIGTERM)
    assert "stopped at step" in process.stdout.read()
    assert process.wait(DEADLINE) == 143


def test_a_run_is_readable_after_sigkill(tmp_path: Path) -> None:
    process = subprocess.Popen([*GANTERM, *TRAIN], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("step ") and "d_loss" in line:
            break
    time.sleep(0.5)
    process.kill()
    process.wait()
    folder = tmp_path / "runs" / "r"
    lines = (folder / "metrics.jsonl").read_bytes().split(b"\n")
    rows = [json.loads(line) for line in lines[1:-1]]
    assert rows[-1]["step"] == len(rows) > 0
    assert json.loads((folder / "events.jsonl").read_text().splitlines()[0])["kind"] == "start"
    held = (folder / "history" / "step.i8").stat().st_size // 8
    assert held <= (folder / "history" / "d_loss.f4").stat().st_size // 4
    assert abs(held - len(rows)) < 5000


OVERFLOWING = [
    f"--set={assignment}"
    for assignment in ("loss=lsgan", "optimizer.name=sgd", "lr_d=1.0", "lr_g=1.0")
]
"""So large a rate leads to scores that overflow within a few steps."""


def test_a_non_finite_run_exits_with_1(tmp_path: Path) -> None:
    done = ganterm(tmp_path, *TRAIN, "--json", "--steps", "3000", *OVERFLOWING)
    assert done.returncode == 1
    lines = json_lines(done.stdout)
    alarms = [line["event"] for line in lines if line.get("event", {}).get("kind") == "alarm"]
    assert alarms[0]["name"] == "nonfinite"
    assert lines[-1]["state"] == "stopped"


def test_an_alarm_ends_the_run_where_that_is_asked_for(tmp_path: Path) -> None:
    done = ganterm(
        tmp_path, *TRAIN, "--json", "--steps", "3000", *OVERFLOWING, "--stop-on", "nonfinite"
    )
    assert done.returncode == 3
    lines = json_lines(done.stdout)
    assert lines[-1]["state"] == "stopped"
    (stop,) = [line["event"] for line in lines if line.get("event", {}).get("kind") == "stop"]
    assert stop["reason"] == "alarm nonfinite"
    assert stop["saved"]


def test_an_alarm_ends_a_resumed_run_as_it_would_have_ended_the_first(tmp_path: Path) -> None:
    first = ganterm(tmp_path, *TRAIN, "--steps", "2", *OVERFLOWING, "--stop-on", "nonfinite")
    assert first.returncode == 0, first.stdout + first.stderr
    done = ganterm(tmp_path, "resume", "r", "--headless", "--steps", "3000")
    assert done.returncode == 3
    assert "alarm nonfinite" in done.stdout
    (run,) = (tmp_path / "runs").iterdir()
    assert resumption(run, 4000).stop_on == ("nonfinite",)
    done = ganterm(tmp_path, "resume", "r", "--headless", "--steps", "4000", "--stop-on", "none")
    assert done.returncode == 1
    assert resumption(run, 5000).stop_on == ()


def test_a_command_is_run_with_an_alarm(tmp_path: Path) -> None:
    told = tmp_path / "told.json"
    write = f"import os; open({str(told)!r}, 'w').write(os.environ['GANTERM_ALARM'])"
    hook = shlex.join([sys.executable, "-c", write])
    done = ganterm(tmp_path, *TRAIN, "--steps", "3000", *OVERFLOWING, "--on-alarm", hook)
    assert done.returncode == 1
    assert "ALARM nonfinite: " in done.stdout
    alarm = json.loads(told.read_text())
    assert (alarm["name"], alarm["state"]) == ("nonfinite", "raised")
    assert alarm["evidence"]["tensor"]
    assert Path(alarm["run"]).is_dir()


def test_a_command_that_fails_is_told_in_the_events(tmp_path: Path) -> None:
    # The run waits for nobody, so the command's end must come before the run's.
    options = ["--set", "run.seed=1", "--on-alarm", "false"]
    done = ganterm(tmp_path, *TRAIN, "--steps", "3000", *OVERFLOWING, *options)
    assert "note text=--on-alarm false: exit code 1" in done.stdout


BAD = [
    (["--preset", "mnist_mlp", "--stop-on", "nonfinit"], "did you mean 'nonfinite'"),
    (["--preset", "mnist_mlp", "--on-alarm", "no-such-program x"], "there is no program"),
    (["--preset", "mnist_mlp", "--on-alarm", "say 'x"], "No closing quotation"),
    (["--preset", "mnist_mpl"], "did you mean 'mnist_mlp'"),
    (["--preset", "nowhere/x.toml"], "does not exist"),
    (["--preset", "mnist_mlp", "--set", "kk=2"], "did you mean 'k'"),
    (["--preset", "mnist_mlp", "--set", "loss=hing"], "did you mean 'hinge'"),
    (["--preset", "mnist_mlp", "--device", "gpu"], "valid: auto, cpu, cuda"),
    (["--preset", "mnist_mlp", "--steps", "0"], "--steps"),
    (["--preset", "mnist_mlp", "--seed", "-3"], "--seed: -3 is not from 0 to"),
    (["--preset", "mnist_mlp", "--seed", str(10**30)], "--seed"),
    (["--preset", "mnist_mlp", "--steps", str(10**30)], "--steps"),
    (["--preset", "mnist_mlp", "--set", "k=0"], "k: 0 is not a whole number from 1 to 100"),
    (["--preset", "mnist_mlp", "--set", "k=2.5"], "k: 2.5 is not a whole number from 1 to 100"),
    (["--preset", "mnist_mlp", "--set", "lr_d=nan"], "lr_d: nan is not a number from"),
    (["--preset", "mnist_mlp", "--set", "loss="], "loss: '' is not known"),
    (["--preset", "mnist_mlp", "--set", "=1"], "KEY=VALUE is needed"),
    (["--preset", "mnist_mlp", "--set", "k=2", "--set", "controls.k=3"], "set more than once"),
    (["--preset", "mnist_mlp", "--seed", "2", "--set", "run.seed=3"], "set more than once"),
    (["--preset", "mnist_mlp", "--seed", "2", "--set", "run={seed=3}"], "set more than once"),
    (["--preset", "mnist_mlp", "--stop-on", "none", "--stop-on", "collapse"], "cannot be combined"),
    (["--preset", "mnist_mlp", "--run", "x" * 300], "too long"),
    (["--preset", "mnist_mlp", "--runs-dir", ""], "a path is needed"),
    (["--preset", "mnist_mlp", "--on-alarm", " "], "a command is needed"),
    (["--preset", "mnist_mlp", "--headless", "--detach"], "not both"),
    (["--preset", "folder.toml"], "is not a file"),
    (["--preset", "binary.toml"], "not a UTF-8 text file"),
    (["--preset", "utf16.toml"], "not a UTF-8 text file"),
    (["--preset", "dots.toml"], "at most 16,384 bytes"),
    (["--preset", "mnist_mlp", "runs"], "--preset stands before 'runs'"),
    (["--runs-dir", "x", "runs"], "--runs-dir stands before 'runs'"),
    (["runs", "--runs-dir", "taken"], "taken: it is not a folder"),
    (["resume", "x"], "there is no run 'x'"),
    (["resume", "x", "--steps", "0"], "--steps"),
    (["attach"], "there is no live run"),
    (["stop", "x", "--timeout", "nan"], "is not a number of seconds"),
    (["bench", "--seconds", "nan"], "is not a number of seconds"),
    (["bench", "--rounds", "0"], "--rounds"),
    (["--preset", "mnist_mlp", "--seed", "x"], "--seed"),
    (["--preset", "mnist_mlp", "--data-dir", "nowhere"], "no such folder"),
    (["--preset", "mnist_mlp", "--run", "../x"], "a name has at most 64 letters"),
    (["--preset", "mnist_mlp", "--runs-dir", "taken"], "is not a folder"),
    (["--preset", "mnist_mlp", "--run", "there"], "resume"),
    (["--preset", "mnist_mlp", "--json"], "--headless"),
    (["--preset", "mnist_mlp"], "use --headless"),
    (["--prest", "x"], "--preset"),
    (["trian"], "there is no command 'trian'"),
    (["mnist_mlp"], "--preset mnist_mlp"),
    (["presets", "mnist_mpl"], "did you mean 'mnist_mlp'"),
    ([], "ganterm --preset NAME"),
]


@pytest.mark.parametrize(("arguments", "told"), BAD, ids=lambda v: " ".join(v)[:40] or "nothing")
def test_mistakes_exit_with_2_and_leave_nothing(
    tmp_path: Path, arguments: list[str], told: str
) -> None:
    (tmp_path / "taken").write_text("")
    (tmp_path / "folder.toml").mkdir()
    (tmp_path / "binary.toml").write_bytes(b"\x80\xff\x00")
    (tmp_path / "utf16.toml").write_bytes("x = 1".encode("utf-16"))
    (tmp_path / "dots.toml").write_text("a." * 20_000 + "a = 1")
    (tmp_path / "runs" / "there").mkdir(parents=True)
    before = sorted(tmp_path.rglob("*"))
    headless = ["--headless"] if told in ("is not a folder", "resume") else []
    done = ganterm(tmp_path, *arguments, *headless)
    assert done.returncode == 2
    assert told in done.stderr
    assert 1 <= len(done.stderr.splitlines()) <= 2
    assert "Traceback" not in done.stderr
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    done = ganterm(tmp_path, *TRAIN, "--runs-dir", "locked/runs")
    assert done.returncode == 2
    assert "cannot be written to" in done.stderr


FULL = "ganterm: the output cannot be written: No space left on device"


@pytest.mark.parametrize(
    ("redirected", "code", "told"),
    [
        (
            "presets > /dev/full",
            1,
            "ganterm: the output cannot be written: No space left on device\n",
        ),
        (
            "--help > /dev/full",
            1,
            "ganterm: the output cannot be written: No space left on device\n",
        ),
        ("runs --json > /dev/full", 0, ""),
        ("presets | head -1", 1, ""),
        ("presets <&- >&-", 0, ""),
        ("presets <&- >&- 2>&-", 0, ""),
        ("--preset x 2>&-", 2, ""),
        ("--preset ring8 <&-", 2, "ganterm: stdin is not a terminal"),
    ],
)
def test_a_pipe_or_a_descriptor_that_is_closed_or_full(
    redirected: str, code: int, told: str, tmp_path: Path
) -> None:
    shell = f"set -o pipefail; {shlex.join(GANTERM)} {redirected}"
    done = subprocess.run(["bash", "-c", shell], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr.startswith(told), "Traceback" in done.stderr) == (
        code,
        True,
        False,
    )
    assert bool(done.stderr) == bool(told)
    assert list(tmp_path.iterdir()) == []


def handlers_of_ctrl_c(start: str) -> list[str]:
    """What handles SIGINT before, while and after the commands are loaded by ``start``."""
    # As an interactive shell starts it: one in the background would have it ignore Ctrl+C.
    code = (
        "import signal, sys, types\n"
        "def show(): print(repr(signal.getsignal(signal.SIGINT)))\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "import ganterm; show()\n"
        "class Loading:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'ganterm.cli.commands': show()\n"
        "sys.meta_path.insert(0, Loading())\n"
        f"{start}"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    return done.stdout.splitlines()


def test_ctrl_c_ends_the_program_without_a_traceback_while_it_is_loaded() -> None:
    before, loading, running = handlers_of_ctrl_c(
        "import ganterm.__main__ as script\n"
        "import ganterm.cli\n"
        "script.gc.enable = lambda: setattr(ganterm.cli.commands, 'main', show)\n"
        "script.main()"
    )
    assert "default_int_handler" in before
    assert loading == "<Handlers.SIG_DFL: 0>"
    assert "default_int_handler" in running


def test_another_program_that_imports_ganterm_keeps_its_handlers() -> None:
    before, loading, after = handlers_of_ctrl_c("import ganterm.cli.commands; show()")
    assert all("default_int_handler" in handler for handler in (before, loading, after))


def test_presets_are_listed_and_shown() -> None:
    listed = CliRunner().invoke(cli, ["presets"])
    assert listed.exit_code == 0
    assert all(name in listed.output for name in presets.names())
    shown = CliRunner().invoke(cli, ["presets", "mnist_mlp"])
    assert shown.output == presets.find("mnist_mlp").read_text()


def test_version_and_help() -> None:
    assert "ganterm" in CliRunner().invoke(cli, ["--version"]).output
    told = CliRunner().invoke(cli, ["--help"]).output
    options = "--preset --set --seed --device --steps --data-dir --runs-dir --run --headless --json"
    assert all(option in told for option in options.split())


def test_no_text_of_the_help_is_a_docstring(tmp_path: Path) -> None:
    for words in ([], *([name] for name in cli.commands)):
        told = ganterm(tmp_path, *words, "--help")
        assert told.returncode == 0 and "Usage: " in told.stdout
        optimised = ganterm(tmp_path, *words, "--help", PYTHONOPTIMIZE="2")
        assert optimised.stdout == told.stdout
    described = [c for c in ({cli} | set(cli.commands.values())) if c.help]
    assert len(described) == len(cli.commands) + 1


def test_the_bench_prints_ratios(tmp_path: Path) -> None:
    told = ["--preset", "ring8", "--rounds", "2", "--seconds", "1", "--starts", "2"]
    done = ganterm(tmp_path, "bench", *told)
    assert done.returncode == 0, done.stderr
    assert "2 turns each in 2 starts" in done.stdout
    for ratio in (
        "dashboard / headless  ",
        "headless / without diagnosis  ",
        "headless / tutorial  ",
        "headless / tutorial, torch's",
    ):
        assert ratio in done.stdout
    assert "KB/s to the terminal at 120x36" in done.stdout
    assert sorted(tmp_path.rglob("*")) == []


def test_the_interval_of_a_bench_covers_what_differs_between_starts_and_between_turns() -> None:
    alike = np.full(4, 1.5)
    assert interval([alike]) == interval([alike, alike]) == (1.5, 1.5)
    assert interval([np.full(4, 1.0), np.full(4, 1.2)]) == (1.0, 1.2)
    low, high = interval([np.array([1.0, 1.4, 1.5, 1.6, 2.0])])
    assert 1.0 <= low < 1.5 < high <= 2.0


def test_a_bench_that_is_ended_leaves_no_program_behind(tmp_path: Path) -> None:
    command = [*GANTERM, "bench", "--preset", "ring8", "--rounds", "100"]
    bench = subprocess.Popen(command, cwd=tmp_path, env={**os.environ, "TMPDIR": str(tmp_path)})
    started: list[psutil.Process] = []
    patience = time.monotonic() + DEADLINE
    while len(started) < 5 and time.monotonic() < patience:
        time.sleep(0.1)
        started = psutil.Process(bench.pid).children()
    time.sleep(2)
    bench.terminate()
    assert bench.wait(DEADLINE) == 143
    assert len(started) == 5 and not any(program.is_running() for program in started)


def test_a_bench_whose_programs_do_not_all_start_says_so_and_leaves_none_behind(
    tmp_path: Path,
) -> None:
    """Nothing can be compiled here, which ganterm refuses to train without; the tutorial trains."""
    file = tmp_path / "preset.toml"
    file.write_text(presets.find("ring8").read_text() + "[run]\ncompile = true\n")
    surroundings = {"TMPDIR": str(tmp_path), "TORCH_COMPILE_DISABLE": "1"}
    done = ganterm(tmp_path, "bench", "--preset", str(file), **surroundings)
    assert done.returncode == 2
    (told,) = done.stderr.splitlines()
    assert "program did not start to train here" in told and "tutorial" not in told
    commands = [" ".join(p.info["cmdline"] or []) for p in psutil.process_iter(["cmdline"])]
    assert not [command for command in commands if str(tmp_path) in command]


def test_python_dash_m_is_the_same_program() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ganterm", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("ganterm")


def test_a_reader_that_leaves_does_not_cost_the_run(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*GANTERM, *TRAIN, "--json", "--steps", "300"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None and process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    # The end of what was to be printed is lost, and the exit code says so.
    assert process.wait(DEADLINE) == 1
    assert b"Broken pipe" in process.stderr.read()
    run = tmp_path / "runs" / "r"
    assert json.loads((run / "run.json").read_text())["state"] == "finished"
    assert (run / "checkpoints" / "LATEST").exists()
