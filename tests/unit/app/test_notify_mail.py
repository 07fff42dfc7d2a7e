"""Mails against a real SMTP server on loopback: in the clear, with STARTTLS and a password, in TLS from the start."""

from dataclasses import replace

import pytest

from tests.support.notices import FAILURE
from tests.support.receivers import certificate, mail_server, silent_port
from whalefall.app.notify.mail import Mail
from whalefall.app.notify.message import headline

NASTY = "x\r\nBcc: victim@example.com\nSubject: free\u2028\x00 \N{SNOWMAN} orders"
MESSAGE = FAILURE
TO = ("oncall@example.com", "lead@example.com")


def mail(url: str, **changes: float) -> Mail:
    return Mail(url, "jobs@example.com", TO, **changes)


def test_a_mail_is_plain_and_can_be_filtered() -> None:
    with mail_server() as (letters, port):
        receipt = mail(f"smtp://localhost:{port}").send(MESSAGE)
    assert receipt.sent, receipt
    [letter] = letters.got
    assert letter["Subject"] == "[whalefall] failed: import_orders on site.example"
    assert letter["To"] == "oncall@example.com, lead@example.com"
    assert letter["Auto-Submitted"] == "auto-generated"
    assert (letter["X-Whalefall-Event"], letter["X-Whalefall-Job"]) == ("failed", "import_orders")
    assert letter.get_content_type() == "text/plain"
    assert letter.get_content().splitlines() == [
        "Its run ended as failed: ValueError: ☃",
        "",
        "job:   import_orders",
        "since: 2026-06-01 12:00:00 UTC",
        "run:   1",
        "site:  site.example",
        "page:  https://site.example/runs/1",
    ]


def test_a_recovery_answers_the_mail_that_told_of_the_trouble() -> None:
    with mail_server() as (letters, port):
        mail(f"smtp://localhost:{port}").send(MESSAGE)
        mail(f"smtp://localhost:{port}").send(replace(MESSAGE, id="whalefall-1-3", answers=MESSAGE.id))
    trouble, end = letters.got
    assert end["In-Reply-To"] == end["References"] == trouble["Message-ID"] == "<whalefall-1-2@example.com>"


def test_no_name_of_a_job_becomes_a_header() -> None:
    nasty = replace(MESSAGE, job=NASTY, headline=headline("failed", NASTY), text=NASTY.replace("\0", ""))
    with mail_server() as (letters, port):
        assert mail(f"smtp://localhost:{port}").send(nasty).sent
    [letter] = letters.got
    assert letter["Bcc"] is None
    [subject] = letter.get_all("Subject")
    assert (
        " ".join(subject.split())
        == "[whalefall] failed: x Bcc: victim@example.com Subject: free ☃ orders on site.example"
    )
    assert " ".join(letter["X-Whalefall-Job"].split()) == "x Bcc: victim@example.com Subject: free ☃ orders"


def test_with_starttls_the_password_and_the_mail_are_encrypted(tmp_path, monkeypatch) -> None:
    context, authority = certificate(tmp_path)
    with mail_server(tls=context, password="p@ss/word") as (letters, port):
        url = f"smtp://whale:p%40ss%2Fword@localhost:{port}?starttls"
        refused = mail(url).send(MESSAGE)
        assert "self-signed certificate" in refused.sentence
        monkeypatch.setenv("SSL_CERT_FILE", str(authority))
        assert mail(url).send(MESSAGE).sent
        assert "localhost" in (wrong := mail(url.replace("p%40", "q%40")).send(MESSAGE)).sentence
        assert "refused user and password (535)" in wrong.sentence
        assert "ss" not in wrong.sentence.replace("password", "")
    assert (letters.logins, letters.over_tls) == (["whale"], [True])


def test_a_server_that_cannot_encrypt_gets_neither_password_nor_mail() -> None:
    with mail_server() as (letters, port):
        receipt = mail(f"smtp://whale:secret@localhost:{port}?starttls").send(MESSAGE)
    assert not receipt.sent
    assert "STARTTLS" in receipt.sentence
    assert letters.got == []


def test_smtps_speaks_tls_from_the_start(tmp_path, monkeypatch) -> None:
    context, authority = certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    with mail_server(smtps=context) as (letters, port):
        assert mail(f"smtps://localhost:{port}").send(MESSAGE).sent
        assert not mail(f"smtps://127.0.0.1:{port}").send(MESSAGE).sent, "the name is verified"
    assert len(letters.got) == 1


def test_refused_recipients_are_named() -> None:
    with mail_server() as (letters, port):
        letters.refused = {"lead@example.com"}
        receipt = mail(f"smtp://localhost:{port}").send(MESSAGE)
        assert receipt.sent
        assert receipt.sentence.endswith("took it, but refused lead@example.com")
        letters.refused = set(TO)
        receipt = mail(f"smtp://localhost:{port}").send(MESSAGE)
    assert not receipt.sent
    assert "refused every recipient: no such mailbox" in receipt.sentence


@pytest.mark.parametrize("say", [b"", b"220 mail\r\n", b"421 too busy\r\n", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
def test_a_server_that_hangs_or_speaks_something_else_is_a_sentence(say) -> None:
    with silent_port(say) as port:
        receipt = mail(f"smtp://127.0.0.1:{port}", step_s=0.5, whole_s=1.0).send(MESSAGE)
    assert not receipt.sent
    assert receipt.sentence.startswith(f"127.0.0.1:{port} ")
    assert "refused" in mail("smtp://127.0.0.1:1").send(MESSAGE).sentence
