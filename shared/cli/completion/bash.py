"""The script for bash 3.2 and later."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Sequence

from .tree import Place

_HEAD = """\
# Completes msisync in bash. Made with: msisync completion bash
_msisync_files() {
    local line
    compopt -o filenames 2>/dev/null
    while IFS= read -r line; do COMPREPLY+=("$line"); done < <(compgen -f -- "$1")
}
_msisync() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} place= last= known= i word
    COMPREPLY=()
    if [[ $cur == = ]]; then cur=; elif [[ $prev == = ]]; then prev=${COMP_WORDS[COMP_CWORD-2]}; fi
    for ((i = 1; i < COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        case "$place $word" in
            PLACES) place="$place $word" ;;
        esac
        if [[ $word == -* ]]; then last=$word; fi
    done
"""


def script(places: Sequence[Place]) -> str:
    """The whole script."""
    paths = _patterns(place.path for place in places if place.path)
    return "\n".join(
        [
            _HEAD.replace("PLACES", paths),
            '    case "$place $prev" in',
            *_values(places),
            "    esac",
            '    if [[ $cur != -* ]]; then case "$place $last" in',
            *_lists(places),
            "    esac; fi",
            '    if [[ -z $known && $cur != -* ]]; then case "$place" in',
            *_words(places),
            "    esac; fi",
            '    if [[ -z $known && ${#COMPREPLY[@]} -eq 0 ]]; then case "$place" in',
            *_options(places),
            "    esac; fi",
            '    COMPREPLY+=($(compgen -W "$known" -- "$cur"))',
            "}",
            "complete -F _msisync msisync",
            "",
        ]
    )


def _patterns(paths: Iterable[str]) -> str:
    return "|".join(shlex.quote(f" {path}") for path in paths)


def _at(place: Place) -> str:
    """As the variable `place` has it: with a blank before each word."""
    return shlex.quote(f" {place.path}" if place.path else "")


def _values(places: Sequence[Place]) -> Iterator[str]:
    """What follows an option: its choices, files, or anything, which nobody can complete."""
    for place in places:
        for option in place.options:
            if option.value:
                words = shlex.quote(" ".join(option.value.choices))
                does = '_msisync_files "$cur"; return' if option.value.is_file else "return"
                pattern = shlex.quote(f"{f' {place.path}' if place.path else ''} {option.word.text}")
                yield f"        {pattern}) {f'known={words}' if option.value.choices else does} ;;"


def _lists(places: Sequence[Place]) -> Iterator[str]:
    """What may go on after the first value of an option that takes several."""
    for place in places:
        for option in place.options:
            if option.value and option.value.many and option.value.choices:
                pattern = shlex.quote(f" {place.path} {option.word.text}")
                yield f"        {pattern}) known={shlex.quote(' '.join(option.value.choices))} ;;"


def _words(places: Sequence[Place]) -> Iterator[str]:
    for place in places:
        words = [word.text for word in place.words] or place.choices
        if place.takes_file:
            yield f'        {_at(place)}) _msisync_files "$cur" ;;'
        elif words:
            yield f"        {_at(place)}) known={shlex.quote(' '.join(words))} ;;"


def _options(places: Sequence[Place]) -> Iterator[str]:
    for place in places:
        yield f"        {_at(place)}) known={shlex.quote(' '.join(option.word.text for option in place.options))} ;;"
