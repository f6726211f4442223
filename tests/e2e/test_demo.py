"""The demo as a newcomer runs it, small: it ends well, says what it found, and leaves nothing behind."""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

import pytest

from tests.support.values import ROOT

#: A bound for one that hangs: beside other test runs on a busy machine it takes minutes.
LONGEST_RUN = 900.0


async def start_demo(directory: Path, *arguments: str) -> asyncio.subprocess.Process:
    command = ["-m", "local.demo", "--size", "small", "--directory", str(directory), *arguments]
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(sys.executable, *command, cwd=ROOT, stdout=pipe, stderr=pipe)


async def test_it_proves_every_record_and_every_reason(tmp_path: Path) -> None:
    picture = tmp_path / "demo.svg"
    demo = await start_demo(tmp_path / "stack", "--json", "--record", str(picture))
    output, errors = await asyncio.wait_for(demo.communicate(), LONGEST_RUN)
    assert demo.returncode == 0, errors.decode()[-3000:]
    result = json.loads(output)
    assert result["ok"]
    assert result["differences"] == []
    assert set(result["entities"]) == {"sales_person", "company", "person", "opportunity", "opportunity_role"}
    for found in result["entities"].values():
        assert found["expected"] == found["found"] == found["right"] > 0
        assert found["wrong"] == found["missing"] == found["unexpected"] == found["duplicates"] == 0
    absent = {line["reason"]: line for line in result["absent"]}
    assert absent["refused by Marketo"]["found"] == absent["refused by Marketo"]["expected"] == 2
    assert absent["waits for parent"]["found"] == absent["waits for parent"]["expected"] > 0
    assert absent["notification: WrongOrganization"]["found"] == 1
    assert result["calls"]["Marketo, all"] > 0
    shown = errors.decode()
    assert "Why the others are not there" in shown
    assert "parked" in shown
    assert "Every record and every relation is right" in shown
    assert shown.rstrip().endswith("dev.py up")  # what to try next
    svg = picture.read_text()
    assert svg.startswith("<svg")
    assert "url(" not in svg.replace("url(#", "")  # the picture needs nothing from elsewhere
    assert not (tmp_path / "stack" / "endpoints.json").exists()


async def test_an_interrupted_demo_stops_everything(tmp_path: Path) -> None:
    demo = await start_demo(tmp_path / "stack")
    assert demo.stdout
    shown = b""
    async with asyncio.timeout(LONGEST_RUN):
        while b"notifications posted" not in shown:
            line = await demo.stdout.readline()
            assert line, shown.decode()
            shown += line
    parts = json.loads((tmp_path / "stack" / "control.json").read_text())["parts"]
    demo.send_signal(signal.SIGINT)
    rest, _ = await asyncio.wait_for(demo.communicate(), LONGEST_RUN)
    assert demo.returncode == 130, rest.decode()
    assert b"Stopped." in rest
    assert len(parts) >= 6
    for part in parts.values():
        with pytest.raises(ProcessLookupError):
            os.kill(part["pid"], 0)
