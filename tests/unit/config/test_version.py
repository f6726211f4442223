"""Which version runs, as the app, the doctor and `msisync --version` tell it."""

import re
import subprocess
from pathlib import Path

import pytest

from shared.cli import main
from shared.config.version import ROOT, SUFFIXES, VERSION, commit, deployed


def test_the_version_is_that_of_the_project() -> None:
    assert re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)[1] == VERSION  # type: ignore[index]


def test_the_digest_is_of_what_is_deployed(tmp_path: Path) -> None:
    (tmp_path / "shared/x").mkdir(parents=True)
    (tmp_path / "function_app.py").write_bytes(b"one\n")
    (tmp_path / "shared/x/y.py").write_bytes(b"two\n")
    first = deployed(tmp_path)
    assert re.fullmatch(re.escape(VERSION) + r"\+[0-9a-f]{8}", first)
    (tmp_path / "docs.md").write_text("no part of it")
    (tmp_path / "function_app.py").write_bytes(b"one\r\n")  # a checkout on Windows
    assert deployed(tmp_path) == first
    (tmp_path / "shared/x/y.py").write_bytes(b"three\n")
    second = deployed(tmp_path)
    assert second != first
    (tmp_path / "shared/x/page.html").write_text("a template of the console")
    assert deployed(tmp_path) not in {first, second}
    assert deployed() == deployed(ROOT)


def test_no_file_of_the_app_is_left_out_of_the_digest() -> None:
    files = (path for path in (ROOT / "shared").rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    assert {path.suffix for path in files} <= SUFFIXES


def test_the_command_tells_the_app_s_version_and_the_commit(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main.main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"msisync {deployed()} (commit {commit()})\n"


def test_a_commit_is_told_by_its_number_and_whether_files_have_changed_since(tmp_path: Path) -> None:
    def git(*words: str) -> str:
        command = ["git", "-C", str(tmp_path), "-c", "user.name=A", "-c", "user.email=a@example.com", *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603  (fixed)

    git("init", "-q")
    (tmp_path / "page").write_text("one")
    git("add", "-A")
    git("-c", "commit.gpgsign=false", "commit", "-qm", "one")
    git("tag", "v9")  # a tag is not the commit that is asked for
    number = git("rev-parse", "--short=12", "HEAD")
    assert commit(tmp_path) == number
    (tmp_path / "page").write_text("two, and longer")
    assert commit(tmp_path) == f"{number}-dirty"


@pytest.mark.parametrize("missing", ["a repository of its own", "git"])
def test_without_git_the_commit_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    folder = tmp_path / "unpacked"  # from an archive, perhaps within another project's repository
    (folder if missing == "git" else tmp_path).joinpath(".git").mkdir(parents=True)
    monkeypatch.setenv("PATH", "" if missing == "git" else str(tmp_path))
    assert commit(folder) == "unknown"
