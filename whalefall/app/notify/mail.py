"""A notice as a mail: plain text, one line of subject, headers that people and programs can filter by.

No header is made from text: names of jobs become one printable line first, and the library refuses what is none. With
`?starttls` a server that cannot encrypt is an error: no password and no message goes out in the clear by accident.
"""

import contextlib
import smtplib
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from urllib.parse import unquote, urlsplit

from whalefall.app.notify.message import Message, one_line
from whalefall.app.notify.sending import STEP_S, WHOLE_S, Receipt, reason_of, within

_SUBJECT_MAX = 150  # characters of a headline; the site's name comes after it
_ANSWER_MAX = 200  # characters of a refusal that are kept


@dataclass(frozen=True, slots=True)
class Mail:
    """One server, one sender, some recipients."""

    url: str
    sender: str
    recipients: Sequence[str]
    step_s: float = STEP_S
    whole_s: float = WHOLE_S

    name = "mail"

    @property
    def target(self) -> str:
        """Without user and password."""
        parts = urlsplit(self.url)
        return f"{', '.join(self.recipients)} by {parts.hostname}:{self._port}"

    @property
    def _port(self) -> int:
        parts = urlsplit(self.url)
        return parts.port or (465 if parts.scheme == "smtps" else 587 if self._starttls else 25)

    @property
    def _starttls(self) -> bool:
        return urlsplit(self.url).query.startswith("starttls")

    def send(self, message: Message) -> Receipt:
        """One try."""
        letter = self.letter(message)
        client = self._client()
        with within(self.whole_s, lambda: _socket_of(client)) as is_late:
            try:
                refused = self._converse(client, letter)
            except smtplib.SMTPException as error:
                return Receipt(sent=False, sentence=self._refusal(error, is_late=is_late.is_set()))
            except (OSError, ValueError) as error:  # ValueError: a name that IDNA does not know
                return Receipt(sent=False, sentence=self._trouble(error, is_late=is_late.is_set()))
            finally:
                client.close()
        but = f", but refused {', '.join(refused)}" if refused else ""
        return Receipt(sent=True, sentence=f"{self.target} took it{but}")

    def letter(self, message: Message) -> EmailMessage:
        """The mail. Recoveries answer the mail that told of the trouble, so that mail programs put them together."""
        letter = EmailMessage(policy=SMTP)
        letter["Subject"] = f"[whalefall] {message.headline[:_SUBJECT_MAX]} on {one_line(message.site)}"
        letter["From"] = self.sender
        letter["To"] = ", ".join(self.recipients)
        letter["Date"] = format_datetime(message.told_at)
        letter["Message-ID"] = self._mail_id(message.id)
        if message.answers:
            letter["In-Reply-To"] = letter["References"] = self._mail_id(message.answers)
        letter["Auto-Submitted"] = "auto-generated"  # RFC 3834: nobody's holiday notice answers it
        letter["X-Whalefall-Event"] = message.event
        if message.job:
            letter["X-Whalefall-Job"] = one_line(message.job)
        letter.set_content(message.letter())
        return letter

    def _mail_id(self, message_id: str) -> str:
        return f"<{message_id}@{self.sender.rpartition('@')[2].strip('[]')}>"

    def _client(self) -> smtplib.SMTP:
        """Not connected yet, so that the timer knows whose socket to end."""
        if urlsplit(self.url).scheme == "smtps":
            return smtplib.SMTP_SSL(timeout=self.step_s, context=ssl.create_default_context())
        return smtplib.SMTP(timeout=self.step_s)

    def _converse(self, client: smtplib.SMTP, letter: EmailMessage) -> Sequence[str]:
        """The recipients that were refused; an error when all were."""
        parts = urlsplit(self.url)
        client._host = parts.hostname or ""  # type: ignore[attr-defined]  # noqa: SLF001 - what smtplib verifies TLS by; connect() forgets to set it
        code, said = client.connect(parts.hostname or "", self._port)
        if code != 220:
            raise smtplib.SMTPConnectError(code, said)
        if self._starttls:
            client.starttls(context=ssl.create_default_context())
        if parts.username:
            client.login(unquote(parts.username), unquote(parts.password or ""))
        refused = client.send_message(letter, self.sender, list(self.recipients))
        with contextlib.suppress(OSError, smtplib.SMTPException):  # it is sent, however the server says goodbye
            client.quit()
        return list(refused)

    def _refusal(self, error: smtplib.SMTPException, *, is_late: bool) -> str:
        server = f"{urlsplit(self.url).hostname}:{self._port}"
        if is_late:
            return f"{server} took longer than {self.whole_s:g} s"
        match error:
            case smtplib.SMTPAuthenticationError():
                return f"{server} refused user and password ({error.smtp_code})"
            case smtplib.SMTPRecipientsRefused():
                return f"{server} refused every recipient: {_words(next(iter(error.recipients.values()))[1])}"
            case smtplib.SMTPResponseException():
                return f"{server} refused with {error.smtp_code}: {_words(error.smtp_error)}"
            case smtplib.SMTPServerDisconnected():
                return f"{server} ended the conversation"
            case _:
                return f"{server}: {_words(str(error))}"

    def _trouble(self, error: OSError | ValueError, *, is_late: bool) -> str:
        server = f"{urlsplit(self.url).hostname}:{self._port}"
        if is_late:
            return f"{server} took longer than {self.whole_s:g} s"
        reason = reason_of(error) if isinstance(error, OSError) else str(error)
        return f"{server} was not reached: {reason}"


def _socket_of(client: smtplib.SMTP) -> socket.socket | None:
    return getattr(client, "sock", None)


def _words(said: bytes | str) -> str:
    text = said.decode("utf-8", "replace") if isinstance(said, bytes) else said
    return one_line(text)[:_ANSWER_MAX]
