"""The store of pictures and uploads."""

from hypothesis import given
from hypothesis import strategies as st

from apimodels_async.emulator.pictures.studio import Studio
from apimodels_async.emulator.service import store
from apimodels_async.emulator.service.timeline import Timeline


@given(st.text(), st.integers(0, 1000))
def test_any_range_header_is_survived(header, size):
    """Whatever a Range header says, the part lies within the file or is empty."""
    for text in (header, f"bytes={header}", None):
        part = store.byte_range(text, size)
        assert part is None or part[1] == 0 or 0 <= part[0] <= sum(part) <= size


@given(st.text())
def test_no_file_name_leaves_its_folder(filename):
    """A hostile file name stays one path segment."""
    path = store.upload_path("user", "token", filename)

    assert path.count("/") == 1
    assert path.startswith("user/token-")


def test_a_type_is_guessed_from_the_name():
    """A file without a type gets that of its suffix."""
    assert store.guess_type("a.png", None) == "image/png"
    assert store.guess_type("a", None) == "application/octet-stream"


def test_uploads_are_bounded():
    """When uploads grow too large together, the oldest go."""
    timeline = Timeline()
    files = store.Store(timeline, Studio(), max_upload_bytes=25)
    for name in "abc":
        files.add_upload(name, store.Upload("text/plain", timeline.now(), b"x" * 10))

    assert files.uploaded("a") is None
    assert files.uploaded("c") is not None


async def test_pictures_are_bounded(api):
    """When there are too many pictures, the oldest go."""
    tasks = [await api.submit(), await api.submit()]
    for task in tasks:
        await api.ended(task)
    studio = Studio(paint=lambda _sketch: b"picture")
    files = store.Store(Timeline(), studio, max_pictures=1)
    for task in tasks:
        files.publish(task)
    paths = [url.partition("/files/")[2] for task in tasks for url in task.urls]

    assert [await files.read(path) for path in paths] == [None, b"picture"]
    studio.close()
