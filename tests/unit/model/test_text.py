"""Text for Marketo: nothing that nobody sees at its ends, nothing that ends the value, cut between characters."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.model.text import BeyondBmp, clean, cut, cut_bytes, is_blank, without_invisible

FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467"


@pytest.mark.parametrize(
    "blank", [" ", "\t", "\r\n", "\u00a0", "\u2003", "\u3000", "\u200b", "\u200d", "\ufeff", "\u202c", "\x00"]
)
def test_what_nobody_sees_at_the_ends_is_not_sent(blank: str) -> None:
    assert clean(f"{blank}li@x.example{blank}{blank}") == "li@x.example"
    assert clean(f" {blank} ") == ""
    assert is_blank(f"{blank} {blank}")


@pytest.mark.parametrize("selector", ["\u034f", "\u17b4", "\u180b", "\ufe0f", "\U000e0100"])
def test_what_changes_the_character_before_it_is_nothing_without_one(selector: str) -> None:
    assert clean(f"{selector} {selector}") == clean(f" {selector}", "keep") == ""
    assert is_blank(f" {selector}")
    assert clean(f"{selector}Li") == "Li"
    assert without_invisible(f"li{selector}@x.example{selector}") == "li@x.example"
    assert clean("\u2764\ufe0f") == "\u2764\ufe0f"


def test_what_has_a_meaning_inside_a_text_stays() -> None:
    for text in ("a  b\tc\nd", "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", "क\u094d\u200dष", "Zoë", "e\u0301"):
        assert clean(text) == text
    assert clean("a\x00b\x1bc") == "abc"


@pytest.mark.parametrize(
    ("text", "dropped", "replaced"),
    [
        ("Anna \U0001f338", "Anna", "Anna \ufffd"), ("a\U0001f600b", "ab", "a\ufffdb"),
        (f"The {FAMILY} of Li", "The  of Li", "The \ufffd of Li"), ("\U00020bb7\u7530", "\u7530", "\ufffd\u7530"),
        ("x\ud83dy", "xy", "x\ufffdy"),
    ],
)  # fmt: skip
def test_a_character_beyond_the_basic_plane_takes_no_other(text: str, dropped: str, replaced: str) -> None:
    assert clean(text) == clean(text, "drop") == dropped
    assert clean(text, "replace") == replaced


def test_who_wants_them_keeps_them_but_never_half_of_one() -> None:
    assert clean(f" {FAMILY}! ", "keep") == f"{FAMILY}!"
    assert clean("x\ud83dy", "keep") == "x\ufffdy"


def test_addresses_have_nothing_invisible_inside_either() -> None:
    assert without_invisible("+49\u202c 89\u200b 1") == "+49 89 1"


@pytest.mark.parametrize(
    ("text", "length", "expected"),
    [
        ("abc", 3, "abc"), ("abcd", 3, "abc"), ("ab cd", 3, "ab"), ("ae\u0301x", 2, "a"),
        ("ae\u0301x", 3, "ae\u0301"), ("a\U0001f600", 2, "a"), ("a\U0001f600", 3, "a\U0001f600"),
        (f"a{FAMILY}", 7, "a"), ("e\u0301", 1, "e"), ("\u2764\ufe0fx", 1, "\u2764"),
    ],
)  # fmt: skip
def test_a_text_ends_where_a_character_does(text: str, length: int, expected: str) -> None:
    assert cut(text, length) == expected


@given(st.text(max_size=80), st.integers(1, 90))
def test_a_cut_text_is_the_beginning_and_as_long_as_it_may_be(text: str, length: int) -> None:
    found = cut(text, length)
    assert text.startswith(found)
    assert len(found.encode("utf-16-le", "surrogatepass")) <= 2 * length
    if len(text.encode("utf-16-le", "surrogatepass")) <= 2 * length:
        assert found == text
    elif text.isascii() and text.isprintable():
        assert found == text[:length].rstrip()


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=60), st.integers(4, 90))
def test_a_text_cut_by_bytes_is_the_beginning_of_whole_characters(text: str, length: int) -> None:
    found = cut_bytes(text, length)
    assert text.startswith(found)
    assert len(found.encode()) <= length
    assert found == text or len(text.encode()) > length


POLICIES: list[BeyondBmp] = ["drop", "replace"]


@given(st.text(max_size=60))
def test_clean_text_is_clean(text: str) -> None:
    for policy in POLICIES:
        found = clean(text, policy)
        assert found == clean(found, policy)
        assert all(ord(character) < 0x10000 and unicodedata.category(character) != "Cs" for character in found)
        assert is_blank(found) == (found == "")
