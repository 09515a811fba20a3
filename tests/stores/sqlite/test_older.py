"""Journals of earlier releases go on: what they know is known, and bought once."""

from __future__ import annotations

import json
import shutil
import sqlite3
import unicodedata
from collections import Counter
from contextlib import closing
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.batches import TASK, drain, orders, prompts_ordered, rows
from support.cases import check_all
from support.older import (
    completed,
    names,
    old_items,
    old_key,
    version_of,
    write_items,
    write_journal,
)

from apimodels_async import (
    GenerationFailedError,
    ImageRequest,
    OutcomeUnknownError,
    SparkPixEdit,
    SparkPixImage,
)
from apimodels_async._core.money.digests import digest_of
from apimodels_async._core.money.orders import BATCH_SCOPE
from apimodels_async._core.money.records import Keys, dump_result
from apimodels_async.models import ImageResult
from apimodels_async.stores.sqlite.journal import Journal
from apimodels_async.stores.sqlite.older import bring_over
from apimodels_async.stores.sqlite.schema import SCHEMA

PAID = {"completed", "accepted", "intended", "unknown"}


@pytest.fixture
def path(tmp_path):
    """Return where the journal is."""
    return tmp_path / "j.sqlite"


# --- a batch goes on ------------------------------------------------------------------


@pytest.mark.parametrize("version", [1, 2])
async def test_every_state_means_what_it_meant(
    emulator, session, connect, path, version
):
    """Nothing old is bought again but what was refused, and new lines are ordered."""
    other = connect(emulator)
    handle = await other.images.submit("[slow] hare", model=TASK)
    await other.aclose()
    slow = ImageRequest(TASK, "[slow] hare")
    items = [
        ("moose", completed("moose")),
        (slow, {"state": "accepted", "task_id": handle.task_id, "price": "0.05"}),
        (
            ImageRequest(TASK, "owl"),
            {"state": "failed", "task_id": "t7", "error": "too dark"},
        ),
        ("refused", {"state": "refused", "error": "no"}),
        ("unknown", {"state": "unknown", "error": "cut", "price": "0.03"}),
        ("intended", {"state": "intended", "price": "0.04"}),
    ]
    write_journal(path, items, version)
    source = [order for order, _ in items]
    batch = session.images.batch([*source, "new"], journal=path)
    outcomes, raised = await drain(batch)

    assert raised is None
    assert outcomes[0].result.url == "https://files.example/moose.png"
    assert outcomes[1].result.task_id == handle.task_id
    assert isinstance(outcomes[2].error, GenerationFailedError)
    assert "too dark" in str(outcomes[2].error)
    assert outcomes[2].error.task_id == "t7"
    assert [type(outcomes[n].error) for n in (4, 5)] == [OutcomeUnknownError] * 2
    assert "cut" in str(outcomes[4].error)
    assert prompts_ordered(emulator) == {"[slow] hare": 1, "refused": 1, "new": 1}
    assert batch.reserved == Decimal("0.07")
    assert batch.spent == Decimal("0.02") + emulator.spent
    assert version_of(path) == 3
    assert rows(path) == (
        [
            "completed",
            "completed",
            "failed",
            "completed",
            "unknown",
            "intended",
            "completed",
        ]
    )
    before = len(emulator.requests)
    again, _ = await drain(session.images.batch([*source, "new"], journal=path))
    assert names(again) == names(outcomes)
    assert before == len(emulator.requests)


async def test_what_is_to_be_ordered_anew_is(emulator, session, path):
    """Failed and unknown items are on request, and each of them once."""
    items = [
        ("unknown", {"state": "unknown"}),
        ("intended", {"state": "intended"}),
        ("failed", {"state": "failed", "error": "no"}),
    ]
    write_journal(path, items)
    source = [order for order, _ in items]
    anew = {"journal": path, "retry_failed": True, "resubmit_unknown": True}
    emulator.fault("sync", "status", status=422, match="unknown")
    await drain(session.images.batch(source, **anew))
    assert len(orders(emulator)) == 3
    # Refused, the new order says nothing of the one before.
    assert rows(path) == ["unknown", "completed", "completed"]
    outcomes, _ = await drain(session.images.batch(source, **anew))

    assert all(outcome.result for outcome in outcomes.values())
    assert prompts_ordered(emulator) == dict.fromkeys(source, 1)


async def test_of_equal_items_what_may_be_paid_for_is_found_first(
    emulator, session, path
):
    """A source with fewer lines than were ordered buys nothing."""
    items = [
        ("moose", {"state": "refused"}),
        ("moose", {"state": "failed", "error": "no"}),
        ("moose", completed("first")),
        ("moose", {"state": "unknown"}),
        ("moose", completed("second")),
    ]
    write_journal(path, items)
    few, _ = await drain(session.images.batch(["moose"] * 3, journal=path))
    assert names(few) == ["first", OutcomeUnknownError, "second"]
    assert orders(emulator) == []

    all_, _ = await drain(session.images.batch(["moose"] * 5, journal=path))
    assert names(all_)[:3] == names(few)
    assert len(orders(emulator)) == 1
    assert names(all_)[4] is GenerationFailedError


SPELT = [
    (
        ImageRequest(TASK, "caf\u00e9", {"n": 1, "size": "1024x1024"}),
        ImageRequest(TASK, "cafe\u0301", {"size": "1024x1024", "n": 1.0}),
    ),
    (
        SparkPixImage(prompt="caf\u00e9", extra={"a": 2, "b": {"c": 1, "d": 2}}),
        SparkPixImage(prompt="cafe\u0301", extra={"b": {"d": 2.0, "c": 1}, "a": 2}),
    ),
    (
        SparkPixEdit(prompt="hat", images=["https://a.example/a.png"], seed=4),
        SparkPixEdit(prompt="hat", images=["https://a.example/a.png#x"], seed=4),
    ),
]


async def test_spelling_of_a_request_does_not_matter(emulator, session, path):
    """Items of any endpoint are found, also in a form that was not theirs."""
    items = [(one, completed(f"p{n}")) for n, (one, _) in enumerate(SPELT)]
    write_journal(path, items)
    for side in (0, 1):
        source = [pair[side] for pair in SPELT]
        outcomes, _ = await drain(session.images.batch(source, journal=path))
        assert names(outcomes) == ["p0", "p1", "p2"]

    assert orders(emulator) == []


async def test_items_that_differed_in_spelling_alone_are_all_kept(
    emulator, session, path
):
    """Each was an order: what may be paid for is found first, then what is not."""
    items = []
    for number, (one, other) in enumerate(SPELT):
        items += [
            (one, {"state": "failed" if number else "refused"}),
            (other, completed(f"p{number}")),
        ]
    write_journal(path, items)
    kept, _ = await drain(
        session.images.batch([pair[0] for pair in SPELT], journal=path)
    )
    assert names(kept) == ["p0", "p1", "p2"]
    assert orders(emulator) == []

    source = [request for pair in SPELT for request in pair]
    every, _ = await drain(session.images.batch(source, journal=path))
    assert names(every)[::2] == ["p0", "p1", "p2"]
    assert names(every)[3::2] == [GenerationFailedError] * 2
    assert len(orders(emulator)) == 1


async def test_pictures_that_were_saved_are_found(emulator, session, path, tmp_path):
    """Whether a journal names one file or a list, in this folder or another."""
    out = tmp_path / "out"
    out.mkdir()
    for name in ("one.png", "two.png", "[3].png"):
        (out / name).write_bytes(b"a picture")
    urls = ("https://files.example/1.png", "https://files.example/2.png")
    two = dump_result(ImageResult(urls=urls))
    items = [
        ("a", completed("a", file=str(out / "one.png"))),
        (
            "b",
            completed("b", result=two, file=json.dumps(["out/one.png", "out/two.png"])),
        ),
        ("c", completed("c", file="/gone/before/[3].png")),
    ]
    write_journal(path, items)
    outcomes, _ = await drain(
        session.images.batch(["a", "b", "c"], journal=path, download_to=out)
    )

    found = [[each.name for each in outcomes[n].paths] for n in range(3)]
    assert found == [["one.png"], ["one.png", "two.png"], ["[3].png"]]
    assert emulator.requests == []


async def test_a_picture_that_was_not_saved_is_fetched(
    emulator, session, path, tmp_path
):
    """The result has its address, and nothing is ordered."""
    bought = await session.images.generate("moose")
    columns = completed("", result=dump_result(bought))
    write_journal(path, [("moose", columns)])
    outcomes, _ = await drain(
        session.images.batch(["moose"], journal=path, download_to=tmp_path / "out")
    )

    assert outcomes[0].path.is_file()
    assert rows(path, "files") == [json.dumps([str(outcomes[0].path)])]
    assert len(orders(emulator)) == 1


async def test_money_is_summed(emulator, session, path):
    """By the API's own figure, or by price; what was not charged does not count."""
    items = [
        ("a", completed("a", price="0.03")),
        ("b", completed("b", price="0.05", cost=None)),
        ("c", {"state": "accepted", "task_id": "t1", "price": "0.07"}),
        ("d", {"state": "unknown", "price": "0.11"}),
        ("e", {"state": "intended", "price": "0.13"}),
        ("f", {"state": "failed", "price": "0.17"}),
        ("g", {"state": "refused", "price": "0.19"}),
        ("h", {"state": "unknown", "price": "0"}),
    ]
    write_journal(path, items)
    batch = session.images.batch([], journal=path)
    await drain(batch)

    assert (batch.spent, batch.reserved) == (Decimal("0.07"), Decimal("0.31"))
    assert emulator.requests == []


async def test_what_was_written_down_is_all_there(path):
    """Number, prompt, times and the nonce of a callback address included."""
    lately = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    items = [
        (ImageRequest(TASK, "a"), completed("a", nonce="ab", task_id="t1")),
        ({"prompt": "b"}, {"state": "unknown", "nonce": "cd", "intended_at": lately}),
        ({"prompt": "b"}, {"state": "failed", "intended_at": "soon"}),
    ]
    write_journal(path, items)
    journal = Journal(path)
    await journal.open()
    found = []
    for endpoint, request in (
        ("images/generations", {"model": TASK, "prompt": "a"}),
        ("images/generations-sync", {"prompt": "b"}),
    ):
        key = f"{digest_of(endpoint, request)}-1"
        found.append(await journal.find(BATCH_SCOPE, key))
    first, second = found
    await journal.aclose()

    assert (first.number, first.model, first.prompt) == (0, TASK, "a")
    assert first.request == '{"model":"gpt-image-2","prompt":"a"}'
    assert (first.task_id, first.nonce, first.price) == ("t1", "ab", Decimal("0.01"))
    assert first.intended_at == datetime(2026, 11, 28, 10, 20, 30, tzinfo=UTC)
    assert first.ended_at == datetime(2026, 11, 28, 10, 21, 30, tzinfo=UTC)
    assert second.awaits_callback
    assert (second.owned, second.handed_over) == (False, False)


async def test_what_a_killed_process_left_in_the_log_counts(
    emulator, session, path, tmp_path
):
    """A journal whose write-ahead log was not merged has all that was committed."""
    source = tmp_path / "running.sqlite"
    with closing(sqlite3.connect(source)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        write_items(connection, [("moose", completed("moose"))])
        connection.commit()
        for end in ("", "-wal"):
            shutil.copy(f"{source}{end}", f"{path}{end}")
    outcomes, _ = await drain(session.images.batch(["moose"], journal=path))

    assert names(outcomes) == ["moose"]
    assert orders(emulator) == []


# --- any journal ----------------------------------------------------------------------

PROMPTS = st.sampled_from(["caf\u00e9", "cafe\u0301", "moose"])
BODIES = st.builds(
    lambda prompt, n, turned: json.dumps(
        dict([("prompt", prompt), ("n", n)][:: -1 if turned else 1]),
        ensure_ascii=False,
    ),
    PROMPTS,
    st.sampled_from([1, 1.0, 2]),
    st.booleans(),
)
PATHS = st.sampled_from(
    ["images/generations", "images/generations-sync", "images/edit"]
)
ITEMS = st.lists(
    st.tuples(
        st.tuples(PATHS, st.just(TASK), BODIES),
        st.fixed_dictionaries(
            {"state": st.sampled_from([*sorted(PAID), "failed", "refused"])}
        ),
    ),
    max_size=12,
)


@given(ITEMS, st.sampled_from([1, 2]))
def test_any_journal_is_brought_over_whole(items, version):
    """Every order is there once, numbered from 1, and what may be paid for first."""
    with closing(sqlite3.connect(":memory:")) as connection:
        write_items(connection, items, version)
        for statement in SCHEMA:
            connection.execute(statement)
        bring_over(connection, version)
        found = connection.execute(
            "SELECT idempotency_key, state, number, request FROM orders "
            "WHERE current AND scope = ? ORDER BY number",
            (BATCH_SCOPE,),
        ).fetchall()
        tables = connection.execute(
            "SELECT name FROM sqlite_master WHERE name = 'items'"
        ).fetchall()
    assert tables == []
    rows = [*old_items(items)]
    assert [(row["state"], row["number"], row["request"]) for row in rows] == [
        each[1:] for each in found
    ]
    states = {key: state for key, state, *_ in found}
    source, keys = [], Keys()
    for (endpoint, _, body), _ in items:
        spelt = json.loads(unicodedata.normalize("NFD", body))
        source.append(digest_of(endpoint, dict(reversed(spelt.items()))))
    # A source of as many equal items finds them all, whatever their spelling.
    assert {keys.name_of(digest) for digest in source} == set(states)
    paid = Counter(
        digest
        for digest, (_, columns) in zip(source, items, strict=True)
        if columns["state"] in PAID
    )
    for key, state in states.items():
        digest, _, place = key.rpartition("-")
        assert (int(place) <= paid[digest]) is (state in PAID)


def test_keys_of_earlier_releases_are_known():
    """They were 16 bytes of SHA-256 in hex, and a number."""
    cases = [("{}", 1), ("{}", 2)]

    def check(body, place):
        digest = "3644c1bd17dfbb49ee8fb86946e72486"
        assert old_key("images/generations", body, place) == f"{digest}-{place}"

    check_all(cases, check)
