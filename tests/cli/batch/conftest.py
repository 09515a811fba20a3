"""Files of prompts, and runs that ended in some way."""

from __future__ import annotations

import time

import pytest

from apimodels_async import DownloadError, ImageRequest, ImageResult, Outcome
from apimodels_async.cli.batch.folder import Folder
from apimodels_async.cli.batch.plan import Plan
from apimodels_async.cli.batch.progress import Progress
from apimodels_async.cli.batch.rows import PromptFile
from apimodels_async.cli.batch.run import Run
from apimodels_async.cli.output import Output

RESULT = ImageResult(urls=("https://a.b/c.png",))
REQUEST = ImageRequest("m", "a fox", {})


@pytest.fixture
def prompts(folder):
    """Write a file of prompts, and return its name."""

    def prompts(*lines, name="p.txt"):
        text = "".join(f"{line}\n" for line in lines)
        (folder / name).write_text(text, encoding="utf-8")
        return name

    return prompts


def progress_of(*errors, total=None, before=None):
    """Return the progress after an outcome for each error; None is a picture."""
    progress = Progress(
        total=len(errors) if total is None else total,
        before=before or {},
        max_pending=1,
        started_at=time.monotonic() - 10,
        replays=frozenset({"completed", "failed"}),
    )
    for number, error in enumerate(errors, 1):
        result = RESULT if error is None or isinstance(error, DownloadError) else None
        progress.given += 1
        progress.take(Outcome(number, REQUEST, result, error))
    return progress


@pytest.fixture
def run_of(folder):
    """Make a run in the folder that has come as far as *progress*."""

    def run_of(progress, model=None, **more):
        plan = Plan(file="p.txt", prompts="prompts.txt", rows=1, ordered=1, model=model)
        return Run(
            folder=Folder.at(folder),
            plan=plan,
            prompts=PromptFile("p.txt", ".txt", b"a fox\n"),
            progress=progress,
            output=Output(),
            **more,
        )

    return run_of
