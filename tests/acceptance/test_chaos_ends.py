"""The long run leaves nothing behind when it is stopped in the midst of its faults."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import psutil
import pytest

from tests.acceptance.chaos.sinks import ROOT
from tests.acceptance.processes import STOP_PATIENCE, commands, until


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_ends_all_that_it_has_started(number: signal.Signals, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    command = [sys.executable, "-m", "tests.acceptance.chaos", "--seed", "1", "--keep", str(folder)]
    with commands(tmp_path) as starter:
        running = starter.launch(command, {"PYTHONPATH": str(ROOT)})
        until(
            lambda: "1 of " in running.said or running.process.poll() is not None,
            "the first fault",
        )
        everybody = running.below()
        for _ in range(2):
            running.process.send_signal(number)
        assert running.process.wait(STOP_PATIENCE) == 130, running.logged
        _, alive = psutil.wait_procs(everybody, timeout=STOP_PATIENCE)
    assert not alive
    assert running.logged == "stopped\n"
