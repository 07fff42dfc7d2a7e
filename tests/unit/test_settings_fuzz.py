"""Whatever stands in a variable is understood, or answered by one sentence that names it."""

from hypothesis import example, given
from hypothesis import strategies as st

from whalefall.errors import ConfigError
from whalefall.settings import Settings, table

ROWS = {row["variable"]: row for row in table()}
TEXTS = st.text(st.characters(exclude_characters="\0")) | st.integers().map(str) | st.from_regex(r"[a-z.:\[\]]*:\d*")


@given(st.sampled_from(sorted(ROWS)), TEXTS)
@example("WEB_LISTEN", "127.0.0.1:²")
@example("PORT", "9" * 5_000)
def test_any_text_is_a_setting_or_a_sentence_with_its_name(name: str, text: str) -> None:
    try:
        Settings.load({name: text})
    except ConfigError as error:
        sentence = str(error)
        assert name in sentence
        assert "\n" not in sentence
        assert sentence.endswith(".")
        assert "invalid literal" not in sentence, "that is Python's sentence, not ours"
        assert "Exceeds the limit" not in sentence, "likewise"
        if ROWS[name]["secret"]:
            assert "its value is not understood" in sentence
