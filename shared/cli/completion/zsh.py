"""The script for zsh 5 and later, with what the help says of each word."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Sequence

from .tree import Place, Value, Word

_HEAD = """\
#compdef msisync
# Completes msisync in zsh. Made with: msisync completion zsh
_msisync() {
    local place= last= word prev=$words[CURRENT-1]
    local -a known
    for word in $words[2,CURRENT-1]; do
        case "$place $word" in
            PLACES) place="$place $word" ;;
        esac
        if [[ $word == -* ]]; then last=$word; fi
    done
"""
_TAIL = """\
}
if [[ "$funcstack[1]" == _msisync ]]; then _msisync "$@"; else compdef _msisync msisync; fi
"""


def script(places: Sequence[Place]) -> str:
    """The whole script."""
    paths = "|".join(shlex.quote(f" {place.path}") for place in places if place.path)
    return "\n".join(
        [
            _HEAD.replace("PLACES", paths),
            '    case "$place $prev" in',
            *_values(places),
            "    esac",
            '    if [[ $PREFIX != -* ]]; then case "$place $last" in',
            *_lists(places),
            "    esac; fi",
            '    if [[ $PREFIX != -* ]]; then case "$place" in',
            *_words(places),
            "    esac; fi",
            '    case "$place" in',
            *_options(places),
            "    esac",
            _TAIL,
        ]
    )


def _at(place: Place) -> str:
    return shlex.quote(f" {place.path}" if place.path else "")


def _described(words: Iterable[Word]) -> str:
    """Words with their help, as _describe takes them."""
    said = (word.text.replace(":", r"\:") + (f":{word.help}" if word.help else "") for word in words)
    return " ".join(map(shlex.quote, said))


def _offer(value: Value) -> str:
    if value.choices:
        return f"compadd -- {shlex.join(value.choices)}; return"
    return "_files; return" if value.is_file else "_message value; return"


def _after(places: Sequence[Place], *, many: bool) -> Iterator[str]:
    for place in places:
        for option in place.options:
            if option.value and (not many or (option.value.many and option.value.choices)):
                pattern = shlex.quote(f"{f' {place.path}' if place.path else ''} {option.word.text}")
                yield f"        {pattern}) {_offer(option.value)} ;;"


def _values(places: Sequence[Place]) -> Iterator[str]:
    return _after(places, many=False)


def _lists(places: Sequence[Place]) -> Iterator[str]:
    return _after(places, many=True)


def _words(places: Sequence[Place]) -> Iterator[str]:
    for place in places:
        if place.words:
            yield f"        {_at(place)}) known=({_described(place.words)}); _describe command known; return ;;"
        elif place.takes_file:
            yield f"        {_at(place)}) _files; return ;;"
        elif place.choices:
            yield f"        {_at(place)}) compadd -- {shlex.join(place.choices)}; return ;;"


def _options(places: Sequence[Place]) -> Iterator[str]:
    for place in places:
        words = _described(option.word for option in place.options)
        yield f"        {_at(place)}) known=({words}); _describe -o option known ;;"
