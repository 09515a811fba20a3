"""
Files of prompts: what is read, and how what cannot be read is told.
"""

from __future__ import annotations

import io
import sys
from decimal import Decimal
from pathlib import Path

import pytest

from apimodels_async import InvalidRequestError
from apimodels_async.cli.batch.preflight import Shard, check_rows, print_problems
from apimodels_async.cli.batch.rows import PromptFile, first_change, load_prompts
from apimodels_async.cli.output import Output


def rows(text, suffix, model=None):
    """Return the rows of a file with this text."""
    data = text if isinstance(text, bytes) else text.encode()
    return list(PromptFile("f", suffix, data).rows(model))


@pytest.mark.parametrize(
    ("suffix", "text", "problem"),
    [
        (".csv", "prompt\na,b\n", "2 cells under 1 columns: quote text"),
        (".csv", 'prompt\n"a\n', "cannot be read as CSV"),
        (".jsonl", "{]\n", "is not JSON: "),
        (".jsonl", '{"a":1,"a":2}\n', "'a' is given twice"),
        (".jsonl", "[" * 100_000 + "\n", "cannot be read"),
        (".jsonl", "7\n", "needs an object or a string, not a int"),
    ],
)
def test_a_bad_row_is_a_value(suffix, text, problem):
    """What is wrong with one row stands in its place, for all to be told at once."""
    found = [row.problem for row in rows(text, suffix) if row.problem]

    assert len(found) == 1
    assert problem in found[0]


@pytest.mark.parametrize(
    ("suffix", "text", "why"),
    [
        (".txt", "a".encode("utf-16"), "it is UTF-16"),
        (".txt", b"a\nb\xff\n", "line 2 is not UTF-8 (byte 0xff)"),
        (".csv", "a,b\n1,2\n", "must name the columns, not: a, b"),
        (".csv", "prompt,prompt\n", "column 'prompt' twice"),
        (".csv", "prompt,\n", "a column without a name"),
    ],
)
def test_a_bad_file_is_refused(suffix, text, why):
    """What is wrong with the whole file is one error that says what to do."""
    with pytest.raises(InvalidRequestError) as caught:
        rows(text, suffix)

    assert why in str(caught.value)


def test_a_model_is_for_rows_that_name_none():
    """--model fills in; a row's own model stays, and a bad row stays bad."""
    found = rows('"a"\n{"prompt":"b","model":"own"}\n7\n', ".jsonl", "gpt-image-2")

    assert [row.item.get("model") for row in found] == ["gpt-image-2", "own", None]


def test_a_file_is_known_by_its_suffix(folder):
    """Another suffix, and a file that is not there, are refused with the reason."""
    (folder / "p.doc").write_text("a")
    with pytest.raises(InvalidRequestError, match=r"must end in \.txt"):
        load_prompts(Path("p.doc"))
    with pytest.raises(InvalidRequestError, match=r"p\.txt: No such file"):
        load_prompts(Path("p.txt"))


def test_prompts_may_come_from_stdin(monkeypatch):
    """A dash is one prompt a line from stdin."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"a\nb\n")))
    prompt_file = load_prompts(Path("-"))

    assert prompt_file.name == "stdin"
    assert [row.item["prompt"] for row in prompt_file.rows(None)] == ["a", "b"]


def test_the_same_rows_are_no_change():
    """A file that says the same in the same order continues a batch."""
    assert first_change(rows("a\n", ".txt"), rows("# new\na\n", ".txt")) is None


@pytest.mark.parametrize("text", ["3", "0/3", "4/3", "1/0", "a/b", "1/3/5"])
def test_a_shard_is_one_of_several(text):
    """3/16 is the third of sixteen; anything else is refused."""
    assert Shard.read("3/16") == Shard(3, 16)
    with pytest.raises(InvalidRequestError, match="--shard needs"):
        Shard.read(text)


@pytest.mark.parametrize(
    ("text", "shard", "why"),
    [
        ("", Shard(), "has no rows; nothing was sent"),
        ("a\n", Shard(2, 2), "none of them in this shard"),
        ('{"prompt": 1}\n', Shard(), "1 of 1 row cannot be ordered"),
    ],
)
def test_nothing_to_order_is_an_error(text, shard, why):
    """An empty file, an empty shard and bad rows end before anything is sent."""
    suffix = ".jsonl" if "{" in text else ".txt"
    found = check_rows(rows(text, suffix), shard, limited=False)
    with pytest.raises(InvalidRequestError) as caught:
        print_problems(found, "f", Output())

    assert why in str(caught.value)


def test_a_budget_needs_prices():
    """With --max-cost a model without a published price is a bad row."""
    prompt_file = rows("a\n", ".txt", "brand-new-model")

    assert check_rows(prompt_file, Shard(), limited=False).unpriced == 1
    assert (
        "no price is known"
        in check_rows(prompt_file, Shard(), limited=True).problems[0][1]
    )
    priced = check_rows(rows("a\n", ".txt"), Shard(), limited=True)
    assert priced.usd == Decimal("0.01")
