"""Files that commands write: theirs alone, complete or not there, and never through or over another one."""

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from infra import operate
from shared.cli.dead_letters.archive import ArchiveError, writing

CONTENT = "Łucja\n"


@pytest.fixture(autouse=True)
def open_to_all() -> Iterator[None]:
    """The most generous machine."""
    before = os.umask(0)
    yield
    os.umask(before)


def test_only_the_owner_can_read_it_from_the_first_moment(tmp_path: Path) -> None:
    path = tmp_path / "letters.jsonl"
    with writing(path) as file:
        (unfinished,) = tmp_path.iterdir()
        assert stat.S_IMODE(unfinished.stat().st_mode) == 0o600
        assert unfinished != path
        file.write(CONTENT)
    assert [each.name for each in tmp_path.iterdir()] == ["letters.jsonl"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_bytes() == CONTENT.encode()


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "there").write_text("before")
    for name in ("there", "nowhere"):
        path = tmp_path / f"link to {name}"
        path.symlink_to(tmp_path / name)
        with pytest.raises(ArchiveError, match="exists already"), writing(path) as file:
            file.write(CONTENT)
    assert (tmp_path / "there").read_text() == "before"
    assert not (tmp_path / "nowhere").exists()


def no_link(*_: object) -> None:
    raise PermissionError(1, "not permitted")


RIVALS: dict[str, Callable[[Path], object]] = {
    "file": lambda path: path.write_text("another's"),
    "link": lambda path: path.symlink_to("victim"),
}


@pytest.mark.parametrize("link", [os.link, no_link], ids=["links", "a file system without links"])
@pytest.mark.parametrize("rival", RIVALS.values(), ids=RIVALS)
def test_a_file_of_that_name_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, link: object, rival: Callable[[Path], object]
) -> None:
    monkeypatch.setattr(os, "link", link)
    path = tmp_path / "letters.jsonl"

    def write() -> None:
        with writing(path) as file:
            file.write(CONTENT)
            rival(path)

    with pytest.raises(ArchiveError, match="exists already"):
        write()
    assert [each.name for each in tmp_path.iterdir()] == ["letters.jsonl"]
    assert path.is_symlink() or path.read_text() == "another's"


def test_it_appears_where_there_are_no_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "link", no_link)
    with writing(tmp_path / "a") as file:
        file.write(CONTENT)
    assert (tmp_path / "a").read_text(encoding="utf-8") == CONTENT
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o600


def test_nothing_is_left_of_what_was_not_finished(tmp_path: Path) -> None:
    def write() -> None:
        with writing(tmp_path / "a") as file:
            file.write("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_none_is_said(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a file")
    with pytest.raises(ArchiveError, match="cannot be written: Not a directory"), writing(tmp_path / "a" / "b"):
        pass
    with pytest.raises(ArchiveError, match="exists already"), writing(Path()):
        pass


def test_settings_replace_a_link_and_are_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operate, "settings", lambda _: {"A": "ä"})
    folder, victim = tmp_path / ".azure/dev", tmp_path / "victim"
    folder.mkdir(parents=True)
    victim.write_text("before")
    (folder / "local.settings.json").symlink_to(victim)
    path = operate.settings_file({"AZURE_ENV_NAME": "dev"}, tmp_path)
    assert victim.read_text() == "before"
    assert not path.is_symlink()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(list(folder.iterdir())) == 1
