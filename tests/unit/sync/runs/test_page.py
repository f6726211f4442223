"""A page's records: the same news twice, or in another order, changes nothing, and each record is counted once."""

from collections import Counter
from dataclasses import replace
from random import Random
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from shared.model.outcome import Deferred, Failed, Later, Outcome, Parent, Removed, Retry, Skipped, Synced
from shared.sync.comparison import Difference, Kind
from shared.sync.runs.page import (
    DIFFERS,
    IN_MARKETO,
    MOST_BYTES,
    PAGE,
    RANKS,
    UNFINISHED,
    UNSENT,
    Page,
    as_bytes,
    from_bytes,
    message_of,
    pages_compared,
    pages_of,
    parse_mark,
    state_of,
)
from shared.sync.settlement import REPEATED
from tests.support.values import NOON

IDS = [str(UUID(int=number)) for number in range(6)]
STATES = [*UNFINISHED, *IN_MARKETO, "failed:1003", "failed:AmbiguousPerson", "skipped:Filtered", "skipped:RowGone"]
NEWS = st.lists(st.dictionaries(st.sampled_from(IDS), st.sampled_from(STATES)), max_size=8)


def a_page(ids: list[str] = IDS) -> Page:
    return Page("a-run", "contact", 3, dict.fromkeys(ids, UNSENT))


def heard(page: Page, news: list[dict[str, str]]) -> Page:
    for each in news:
        page = page.told(each)
    return page


@given(NEWS, st.randoms(use_true_random=False))
def test_neither_order_nor_repetition_of_news_matters_until_all_is_done(
    news: list[dict[str, str]], chance: Random
) -> None:
    other = [*news, *chance.choices(news, k=3)] if news else []
    chance.shuffle(other)
    keeps_open = [{id_: state for id_, state in each.items() if id_ != IDS[0]} for each in news]
    kept_open = [{id_: state for id_, state in each.items() if id_ != IDS[0]} for each in other]
    assert heard(a_page(), keeps_open) == heard(a_page(), kept_open)


@given(NEWS)
def test_each_record_is_counted_once_whatever_is_told(news: list[dict[str, str]]) -> None:
    page = heard(a_page(), news)
    assert page.counts.total() == len(IDS)
    assert heard(page, news).counts == page.counts


@given(NEWS)
def test_a_state_moves_only_up(news: list[dict[str, str]]) -> None:
    page = a_page()
    for each in news:
        before, page = page, page.told(each)
        for id_ in page.states:
            assert RANKS[before.states[id_].partition(":")[0]] <= RANKS[page.states[id_].partition(":")[0]]


@given(NEWS, st.integers(0, 9))
def test_a_page_survives_its_row(news: list[dict[str, str]], sends: int) -> None:
    page = replace(heard(a_page(), news), sends=sends)
    again = from_bytes(as_bytes(replace(page, etag="0")), "1")
    assert (again, again.etag) == (page, "1")


def test_a_page_that_is_done_keeps_only_what_is_not_in_marketo() -> None:
    done = a_page().told({**dict.fromkeys(IDS, "created"), IDS[1]: "failed:1003", IDS[2]: "skipped:Filtered"})
    assert done.is_closed
    assert done.states == {IDS[1]: "failed:1003", IDS[2]: "skipped:Filtered"}
    assert done.counts == Counter({"created": 4, "failed:1003": 1, "skipped:Filtered": 1})


def test_a_dead_letter_that_is_replayed_later_is_no_longer_missing() -> None:
    done = a_page().told({**dict.fromkeys(IDS, "created"), IDS[1]: "failed:1003"}, {"1003": "no such value"})
    assert done.messages == {"1003": "no such value"}
    replayed = done.told({IDS[1]: "updated"}).told({IDS[1]: "updated"})
    assert (replayed.states, replayed.messages) == ({}, {})
    assert replayed.counts == Counter({"created": 5, "updated": 1})


def test_an_outcome_may_be_known_before_the_page_says_that_it_was_sent() -> None:
    page = a_page().told({IDS[0]: "created", IDS[1]: "parked"}).sent(NOON)
    assert [page.states[id_] for id_ in IDS[:3]] == ["created", "parked", "open"]
    assert (page.sent_at, page.sends) == (NOON, 1)


def test_pages_have_at_most_a_call_of_records_each_of_them_once() -> None:
    ids = [str(UUID(int=number)) for number in range(PAGE + 5)]
    pages = pages_of("a-run", "lead", 7, [*ids, ids[0]])
    assert [(page.number, len(page.states)) for page in pages] == [(7, PAGE), (8, 5)]
    assert parse_mark(pages[1].mark) == ("a-run", "lead", 8)


def test_what_is_no_mark_is_none() -> None:
    assert [parse_mark(text) for text in ("", "a-run", "a-run/lead", "a-run/lead/x")] == [None] * 4


def test_what_outcomes_make_of_records() -> None:
    outcomes: dict[str | None, Outcome] = {
        "created": Synced("created"),
        "updated": Synced("updated"),
        "adopted": Synced("adopted"),
        "unchanged": Synced("covered"),
        "skipped:Filtered": Skipped("Filtered"),
        "skipped:Deleted": Removed("flagged", "Deleted"),
        "failed:DeadLetterAlready": REPEATED,
        "failed:1003": Failed("1003", "for a@b.example"),
        "parked": Deferred((Parent("company", "account", IDS[0]),)),
        "retrying": Retry(60, "502", "busy"),
        None: Later("FillsACall"),
    }
    assert {state_of(outcome): outcome for outcome in outcomes.values()} == outcomes


def test_a_failures_text_is_kept_without_personal_data() -> None:
    assert message_of(Failed("1003", "no value: ann@contoso.com")) is not None
    assert "ann@" not in str(message_of(Failed("1003", "no value: ann@contoso.com")))
    assert message_of(Retry(60, "502", "busy")) is None


def test_what_was_found_survives_storage_and_the_end_of_its_page() -> None:
    found = {
        IDS[0]: [Difference("person", "contact", IDS[0], Kind.DIFFERING, ("city", "title"))],
        IDS[2]: [
            Difference("person", "contact", IDS[2], Kind.MISSING),
            Difference("person", "contact", IDS[2], Kind.DUPLICATE, (), (5, 6)),
        ],
    }
    states = dict.fromkeys(IDS, "unchanged") | {IDS[0]: UNSENT, IDS[2]: f"{DIFFERS}:missing"}
    (page,) = pages_compared("a-run", "contact", 4, states, found)
    closed = page.sent(NOON).told({IDS[0]: "updated"})
    stored = from_bytes(as_bytes(closed))
    assert stored == closed
    assert stored.states == {IDS[0]: "updated", IDS[2]: f"{DIFFERS}:missing"}
    assert stored.found == {id_: tuple(those) for id_, those in found.items()}
    assert stored.counts == Counter(unchanged=4, updated=1, **{f"{DIFFERS}:missing": 1})


def test_much_that_was_found_is_kept_in_more_pages_each_of_which_storage_takes() -> None:
    ids, names = [str(UUID(int=n)) for n in range(PAGE)], [f"aFieldOfMarketo{n}" for n in range(500)]
    chance = Random(1)  # noqa: S311  (the same each time)
    found = {
        id_: [Difference("person", "contact", id_, Kind.DIFFERING, tuple(chance.sample(names, 250)))] for id_ in ids
    }
    pages = pages_compared("a-run", "contact", 7, dict.fromkeys(ids, f"{DIFFERS}:differing"), found)
    assert [page.number for page in pages] == list(range(7, 7 + len(pages)))
    assert len(pages) > 1
    assert max(len(as_bytes(page)) for page in pages) <= MOST_BYTES
    assert [id_ for page in pages for id_ in page.states] == ids
    assert {id_: list(those) for page in pages for id_, those in page.found.items()} == found


def test_an_opportunity_of_which_only_roles_differ_goes_to_their_queue() -> None:
    role = Difference("opportunity_role", "opportunity", IDS[0], Kind.EXTRA, marketo_ids=(7,))
    own = Difference("opportunity", "opportunity", IDS[1], Kind.DIFFERING, ("name",))
    both = Difference("opportunity_role", "opportunity", IDS[1], Kind.MISSING)
    found = {IDS[0]: [role], IDS[1]: [both, own]}
    (page,) = pages_compared("a-run", "opportunity", 0, dict.fromkeys(IDS, UNSENT), found)
    assert [page.entity_of(id_) for id_ in IDS[:3]] == ["opportunity_role", "opportunity", "opportunity"]
