"""The script for PowerShell 5.1 and later, on Windows and elsewhere, with what the help says of each word."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from .tree import Place, Word

_HEAD = """\
# Completes msisync in PowerShell. Made with: msisync completion powershell
Register-ArgumentCompleter -Native -CommandName 'msisync', 'msisync.exe' -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)
    # What may follow at each place, with its help; and what follows an option: nothing is a file, or anything.
    $words = @{
"""
_MIDDLE = """\
    }
    $values = @{
"""
_TAIL = """\
    }
    $place = ''
    $last = ''
    $elements = $commandAst.CommandElements | Select-Object -Skip 1
    foreach ($element in $elements | Where-Object { $_.Extent.EndOffset -lt $cursorPosition }) {
        $last = $element.ToString()
        $deeper = "$place $last".Trim()
        if ($words.ContainsKey($deeper)) { $place = $deeper }
    }
    $after = "$place $last".Trim()
    $known = if ($values.ContainsKey($after)) { $values[$after] } else { $words[$place] }
    foreach ($word in $known) {
        $text, $help = $word -split "`t", 2
        if ($text -like "$wordToComplete*") {
            $shown = if ($help) { $help } else { $text }
            [System.Management.Automation.CompletionResult]::new($text, $text, 'ParameterValue', $shown)
        }
    }
}
"""


def script(places: Sequence[Place]) -> str:
    """The whole script."""
    return _HEAD + "\n".join(_words(places)) + "\n" + _MIDDLE + "\n".join(_values(places)) + "\n" + _TAIL


def _words(places: Sequence[Place]) -> Iterator[str]:
    for place in places:
        options = [option.word for option in place.options]
        yield f"        {_quoted(place.path)} = {_array([*place.words, *map(Word, place.choices), *options])}"


def _values(places: Sequence[Place]) -> Iterator[str]:
    for place in places:
        for option in place.options:
            if option.value:
                after = f"{place.path} {option.word.text}".strip()
                yield f"        {_quoted(after)} = {_array(map(Word, option.value.choices))}"


def _array(words: Iterable[Word]) -> str:
    return f"@({', '.join(_quoted(word.text) + _help(word) for word in words)})"


def _help(word: Word) -> str:
    return f' + "`t" + {_quoted(word.help)}' if word.help else ""


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
