"""The control socket's language: what is good survives the trip, anything else is answered with a sentence."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whalefall.control.protocol import (
    COMMANDS,
    REQUEST_BYTES_MAX,
    Reply,
    Request,
    decode_reply,
    decode_request,
    encode_reply,
    encode_request,
)
from whalefall.errors import ControlError

_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(st.builds(Request, st.sampled_from(COMMANDS), st.text(), st.booleans(), st.integers()))
def test_a_request_survives_the_trip(request_: Request) -> None:
    line = encode_request(request_)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert decode_request(line) == request_


@given(_json)
def test_a_reply_survives_the_trip(data: object) -> None:
    assert decode_reply(encode_reply(Reply(ok=True, data=data))) == Reply(ok=True, data=data)


def test_a_refusal_carries_its_sentence() -> None:
    assert decode_reply(encode_reply(Reply(ok=False, error="no such service"))).error == "no such service"


@given(st.binary())
def test_no_bytes_do_more_than_raise_a_sentence(line: bytes) -> None:
    with contextlib.suppress(ControlError):
        assert decode_request(line).command in COMMANDS


@given(_json)
def test_no_json_does_more_than_raise_a_sentence(document: object) -> None:
    with contextlib.suppress(ControlError):
        assert decode_request(json.dumps(document).encode()).command in COMMANDS


def test_a_request_has_a_size() -> None:
    with pytest.raises(ControlError, match="longer than"):
        decode_request(b" " * (REQUEST_BYTES_MAX + 1))


@pytest.mark.parametrize("line", [b"", b"[]", b"{}", b'{"ok": true', b"null", b"\xff"])
def test_an_answer_that_is_not_ours_is_refused(line: bytes) -> None:
    with pytest.raises(ControlError, match="not whalefall's"):
        decode_reply(line)
