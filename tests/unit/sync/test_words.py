"""Words for yes and no: known ones in the language of sync.toml, and nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.sync.words import answer

ENGLISH, GERMAN, AUSTRIAN, FRENCH = 1033, 1031, 3079, 1036


@pytest.mark.parametrize("word", ["No", "no ", "FALSE", "0", "Off", "Do Not Send", "do not allow", "Don\u2019t send"])
def test_english_words_for_no(word: str) -> None:
    assert answer(word, ENGLISH, of_permission=True) is False


@pytest.mark.parametrize("word", ["Yes", "TRUE", "1", "on", "Send", "Allow"])
def test_english_words_for_yes(word: str) -> None:
    assert answer(word, ENGLISH, of_permission=True) is True


@pytest.mark.parametrize(
    ("word", "language", "expected"),
    [
        ("Nein", GERMAN, False), ("Ja", AUSTRIAN, True), ("nicht zulassen", GERMAN, False), ("Nein", ENGLISH, None),
        ("Non", FRENCH, False), ("Oui", FRENCH, True), ("No", GERMAN, False), ("いいえ", 1041, False),
        ("Nej", 1030, False),
    ],
)  # fmt: skip
def test_the_language_decides(word: str, language: int, expected: bool | None) -> None:
    assert answer(word, language, of_permission=True) is expected


@pytest.mark.parametrize("word", ["Do Not Send", "Do Not Allow", "Allow", "Send"])
def test_a_permission_does_not_answer_a_field_that_asks_for_the_contrary(word: str) -> None:
    assert answer(word, ENGLISH, of_permission=False) is None


@pytest.mark.parametrize("word", ["", "maybe", "Unknown", "2", "not yes", "Hot", "N/A"])
def test_any_other_word_is_no_answer(word: str) -> None:
    assert answer(word, ENGLISH, of_permission=True) is None


@given(st.text(max_size=20), st.integers(1, 20_000), st.booleans())
def test_no_text_and_no_language_is_too_odd(text: str, language: int, permission: bool) -> None:
    assert answer(text, language, of_permission=permission) in {True, False, None}
