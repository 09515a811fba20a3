"""Text on pictures: wrapping, and fonts for other letters than ASCII."""

from PIL import Image, ImageFont

from apimodels_async.emulator.pictures import text


def test_long_words_and_texts_fit():
    """Long prompts are wrapped and broken to fit."""
    font = ImageFont.load_default(12)
    for prompt in ("a " * 500, "x" * 500, "word " + "y" * 90):
        lines = text.wrap(prompt, font, 100)
        assert all(font.getlength(line) <= 100 for line in lines)
        assert "".join(lines).replace(" ", "") == prompt.replace(" ", "")


def test_a_long_caption_takes_the_lower_half():
    """A long prompt is drawn in smaller letters, below the middle of the picture."""
    picture = Image.new("RGB", (320, 200))
    text.caption(picture, "long " * 500)

    assert picture.crop((0, 0, 320, 80)).getbbox() is None
    assert picture.getbbox() is not None


def test_wide_letters_use_a_system_font(tmp_path):
    """Other letters than ASCII take the first font there is, else Pillow's own."""
    wide = tmp_path / "wide.ttf"
    wide.write_bytes(ImageFont.load_default(12).font_bytes)
    names = ("no-such-font.ttf", str(wide))

    assert text.font_for("狐", 12, names).path == str(wide)
    assert text.font_for("狐", 12, names[:1]).path != str(wide)
    assert text.font_for("fox", 12, names).path != str(wide)
