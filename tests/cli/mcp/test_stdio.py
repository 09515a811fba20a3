"""What *mcp* writes to: a descriptor without a buffer, and stderr for what strays."""

from __future__ import annotations

import gc
import io
import os
import sys
import threading

import pytest

from apimodels_async.cli.mcp.stdio import ProtocolOutput


def test_more_than_a_pipe_takes_at_once_is_written_whole():
    """A long message is cut into as many writes as it needs."""
    reader, writer = os.pipe()
    got = bytearray()

    def read():
        while data := os.read(reader, 1 << 16):
            got.extend(data)

    thread = threading.Thread(target=read)
    thread.start()
    text = "a moose\n" * 50_000
    wrapper = io.TextIOWrapper(ProtocolOutput(writer).buffer)
    wrapper.write(text)
    wrapper.flush()
    os.close(writer)
    thread.join(20)
    os.close(reader)

    assert got.decode() == text


def test_a_closed_pipe_is_told_once_and_not_again_when_collected(monkeypatch):
    """What could not be written is no second failure while the wrapper goes."""
    unraisable = []
    monkeypatch.setattr(sys, "unraisablehook", unraisable.append)
    reader, writer = os.pipe()
    os.close(reader)
    wrapper = io.TextIOWrapper(ProtocolOutput(writer).buffer)
    wrapper.write("a moose\n")
    with pytest.raises(BrokenPipeError):
        wrapper.flush()
    del wrapper
    gc.collect()
    os.close(writer)

    assert unraisable == []


def test_text_that_strays_goes_to_stderr(capsys):
    """A print while the protocol has stdout does not break the protocol."""
    print("noise", file=ProtocolOutput(1))

    assert capsys.readouterr() == ("", "noise\n")
