"""The script for fish 3 and later, with what the help says of each word."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from .tree import Place, Value

_HEAD = """\
# Completes msisync in fish. Made with: msisync completion fish
function __msisync_at
    set -l typed (commandline -opc)
    set -l place
    for word in $typed[2..]
        if contains -- (string join -- ' ' $place $word) PLACES
            set place $place $word
        end
    end
    test "$place" = "$argv"
end
complete -c msisync -f
"""


def script(places: Sequence[Place]) -> str:
    """The whole script."""
    paths = " ".join(_quoted(place.path) for place in places if place.path)
    lines = [line for place in places for line in _lines(place)]
    return "\n".join([_HEAD.replace("PLACES", paths), *lines, ""])


def _lines(place: Place) -> Iterator[str]:
    here = f"complete -c msisync -n {_quoted(f'__msisync_at {place.path}'.strip())}"
    for word in place.words:
        yield f"{here} -a {_quoted(word.text)} -d {_quoted(word.help)}"
    if place.choices:
        yield f"{here} -a {_listed(place.choices)}"
    if place.takes_file:
        yield f"{here} -F"
    for option in place.options:
        name = option.word.text
        named = f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}"
        yield f"{here} {named}{_follows(option.value)} -d {_quoted(option.word.help)}"


def _follows(value: Value | None) -> str:
    if value is None:
        return ""
    if value.choices:
        return f" -x -a {_listed(value.choices)}"
    return " -r -F" if value.is_file else " -x"


def _listed(words: Iterable[str]) -> str:
    return _quoted(" ".join(words))


def _quoted(text: str) -> str:
    """As fish quotes: within single quotes, a backslash escapes itself and the quote."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
