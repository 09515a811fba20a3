"""Files of prompts: what is read, and how what cannot be read is named."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from apimodels_async import InvalidRequestError
from apimodels_async.cli.batch.rows import PromptFile, first_change, load_prompts


def rows(text, suffix=".txt", model=None):
    """Return the rows of a file with this text."""
    data = text if isinstance(text, bytes) else text.encode()
    return list(PromptFile("f", suffix, data).rows(model))


def test_rows_are_read_from_each_kind_of_file():
    """Blank lines, BOM and CRLF are no rows; empty cells are not given."""
    files = {
        (".txt", "\ufeffa\r\n\r\n# b\r\n c \r\n"): [{"prompt": "a"}, {"prompt": "c"}],
        (".csv", "prompt,seed,model\n1984,3,\n,,\n"): [{"prompt": "1984", "seed": 3}],
        (".jsonl", '"a"\n\n{"prompt":"b"}\n'): [{"prompt": "a"}, {"prompt": "b"}],
    }
    found = {
        (suffix, text): [row.item for row in rows(text, suffix)]
        for suffix, text in files
    }

    assert found == files


def test_spreadsheets_write_semicolons():
    """The header says what separates the cells; "sep=;" may say so before it."""
    expected = [{"prompt": "a, b", "seed": 3}]
    for text in (
        "\ufeffprompt;seed\r\na, b;3\r\n",
        "\nprompt;seed\na, b;3\n",
        "sep=;\r\nprompt;seed\r\na, b;3\r\n",
        "prompt\tseed\na, b\t3\n",
        'seed,prompt\n3,"a, b"\n',
    ):
        assert [row.item for row in rows(text, ".csv")] == expected
    (row,) = rows("sep=;\nprompt;seed\na;b;3\n", ".csv")

    assert row.problem == "3 cells under 2 columns: quote text that has semicolons"
    assert row.line == 3
    assert [*rows("", ".csv")] == []


def test_a_bad_row_is_a_value():
    """What is wrong with one row stands in its place, for all to be named at once."""
    bad = {
        (".csv", "prompt\na,b\n"): "2 cells under 1 columns: quote text",
        (".csv", 'prompt\n"a\n'): "cannot be read as CSV",
        (".jsonl", "{]\n"): "is not JSON: ",
        (".jsonl", '{"a":1,"a":2}\n'): "'a' is given twice",
        (".jsonl", "[" * 100_000 + "\n"): "cannot be read",
        (".jsonl", "7\n"): "needs an object or a string, not a number",
    }
    found = {
        (suffix, text): [row.problem for row in rows(text, suffix) if row.problem]
        for suffix, text in bad
    }

    wrong = [
        (case[0], case[1][:20], found[case])
        for case, problem in bad.items()
        if len(found[case]) != 1 or problem not in found[case][0]
    ]
    assert wrong == []


def test_a_bad_file_is_refused():
    """What is wrong with the whole file is one error that says what to do."""
    bad = {
        (".txt", "a".encode("utf-16")): "it is UTF-16",
        (".txt", b"a\nb\xff\n"): "line 2 is not UTF-8 (byte 0xff)",
        (".csv", "a,b\n1,2\n"): "must name the columns, not: a, b",
        (".csv", "prompt,prompt\n"): "column 'prompt' twice",
        (".csv", "prompt,\n"): "a column without a name",
    }
    wrong = []
    for (suffix, text), why in bad.items():
        with pytest.raises(InvalidRequestError) as caught:
            rows(text, suffix)
        if why not in str(caught.value):
            wrong.append((text, str(caught.value)))

    assert wrong == []


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


def test_prompts_may_come_from_stdin():
    """A dash is one prompt a line from stdin."""
    file = load_prompts(Path("-"), io.BytesIO(b"a\nb\n"))

    assert file.name == "stdin"
    assert [row.item["prompt"] for row in file.rows(None)] == ["a", "b"]


def test_only_rows_added_at_the_end_continue_a_batch():
    """A changed or missing row is named; comments and added rows are no change."""
    old = rows("a\nb\n")

    assert first_change(old, rows("# new\na\nb\n")) is None
    assert first_change(old, rows("a\nb\nc\n")) is None
    assert "row 2 (line 2)" in first_change(old, rows("a\nc\n"))
    assert "row 2" in first_change(old, rows("a\n"))


def test_a_row_that_cannot_be_ordered_is_another_one():
    """Only what orders the same is the same row; a default may be written out."""
    old = rows("a fox\na hare\n")
    assert first_change(old, rows("a fox\na hare\n", model="sparkpix-image")) is None
    bad = rows('{"prompt": "a fox"}\n{"prompt": "a hare", "sed": 1}\n', ".jsonl")
    assert "row 2 (line 2) is another one" in first_change(old, bad)
