"""The webhook against real receivers on loopback; signatures are checked by the specification's own library."""

import threading
from dataclasses import replace

import pytest
from standardwebhooks.webhooks import Webhook as Verifier
from standardwebhooks.webhooks import WebhookVerificationError

from tests.support.notices import FAILURE
from tests.support.receivers import Hooks, answering, certificate, dripping, silent_port
from whalefall.app.notify.webhook import Webhook

SECRET = "whsec_" + "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVowMTIzNDU="
OTHER = "whsec_" + "YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXowMTIzNDU="
MESSAGE = replace(FAILURE, job='importé "orders"\nX: y', headline="failed: importé")


def test_what_is_posted_is_signed_as_standard_webhooks_has_it() -> None:
    with Hooks() as hooks:
        receipt = Webhook(hooks.url, (SECRET,)).send(MESSAGE)
    assert receipt.sent
    assert receipt.sentence.endswith("took it (204)")
    [(headers, body)] = hooks.got
    document = Verifier(SECRET).verify(body, headers)
    assert document["type"] == "whalefall.failed"
    assert document["data"]["job"] == MESSAGE.job
    assert document["text"].startswith("failed: importé on site.example\nIts run ended")
    assert headers["content-type"] == "application/json"
    with pytest.raises(WebhookVerificationError):
        Verifier(SECRET).verify(body.replace(b"failed", b"passed"), headers)
    with pytest.raises(WebhookVerificationError):
        Verifier(OTHER).verify(body, headers)


def test_while_a_secret_is_changed_both_verify() -> None:
    with Hooks() as hooks:
        Webhook(hooks.url, (OTHER, SECRET)).send(MESSAGE)
    [(headers, body)] = hooks.got
    assert Verifier(SECRET).verify(body, headers) == Verifier(OTHER).verify(body, headers)


def test_without_a_secret_nothing_pretends_to_be_signed() -> None:
    with Hooks() as hooks:
        assert Webhook(hooks.url, ()).send(MESSAGE).sent
    assert "webhook-signature" not in hooks.got[0][0]


@pytest.mark.parametrize("status", [400, 401, 404, 410, 429, 500, 503])
def test_a_refusal_is_a_sentence(status) -> None:
    with Hooks(answering(status)) as hooks:
        receipt = Webhook(hooks.url, ()).send(MESSAGE)
    assert not receipt.sent
    assert f"answered {status}: no" in receipt.sentence


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed(status) -> None:
    with Hooks() as elsewhere, Hooks(answering(status, Location=elsewhere.url)) as hooks:
        receipt = Webhook(hooks.url, (SECRET,)).send(MESSAGE)
        assert elsewhere.got == []
    assert not receipt.sent
    assert "redirects are not followed" in receipt.sentence


def test_no_proxy_of_the_environment_gets_it(monkeypatch) -> None:
    with Hooks() as proxy, Hooks() as hooks:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        assert Webhook(hooks.url, ()).send(MESSAGE).sent
        assert proxy.got == []


def test_tls_is_verified(tmp_path, monkeypatch) -> None:
    context, authority = certificate(tmp_path)
    with Hooks(tls=context) as hooks:
        receipt = Webhook(hooks.url, ()).send(MESSAGE)
        assert not receipt.sent
        assert "self-signed certificate" in receipt.sentence
        monkeypatch.setenv("SSL_CERT_FILE", str(authority))
        assert Webhook(hooks.url, ()).send(MESSAGE).sent
        wrong_name = hooks.url.replace("localhost", "127.0.0.1")
        assert "IP address mismatch" in Webhook(wrong_name, ()).send(MESSAGE).sentence
    assert len(hooks.got) == 1


def test_a_receiver_that_refuses_hangs_or_drips_holds_nobody_for_long() -> None:
    quick = {"step_s": 0.5, "whole_s": 1.0}
    receipt = Webhook("http://127.0.0.1:1/", (), **quick).send(MESSAGE)
    assert "was not reached: Connection refused" in receipt.sentence
    with silent_port() as port:
        receipt = Webhook(f"http://127.0.0.1:{port}/", (), **quick).send(MESSAGE)
        assert "no answer within" in receipt.sentence
        assert not Webhook(f"https://127.0.0.1:{port}/", (), **quick).send(MESSAGE).sent
    done = threading.Event()
    with Hooks(dripping(done)) as hooks:
        receipt = Webhook(hooks.url, (), **quick).send(MESSAGE)  # would last for ever
        done.set()
    assert "took longer than 1 s" in receipt.sentence


@pytest.mark.parametrize("say", [b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 200 OK\r\n" + b"X: " + b"y" * 100_000])
def test_what_does_not_speak_http_is_a_sentence(say) -> None:
    with silent_port(say) as port:
        receipt = Webhook(f"http://127.0.0.1:{port}/", (), step_s=1, whole_s=2).send(MESSAGE)
    assert not receipt.sent
    assert receipt.sentence.startswith(f"http://127.0.0.1:{port} ")


def test_no_sentence_holds_the_path_which_may_be_the_password() -> None:
    with Hooks(answering(500)) as hooks:
        for url in (hooks.url, "http://127.0.0.1:1/hook"):
            assert "/hook" not in Webhook(url + "?token=secret", ()).send(MESSAGE).sentence
