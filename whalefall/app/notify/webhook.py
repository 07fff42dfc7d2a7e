"""A notice as an HTTP POST, signed as Standard Webhooks has it (standardwebhooks.com, signatures `v1`).

    webhook-id          the same at each try
    webhook-timestamp   of this try, in seconds; receivers refuse old ones
    webhook-signature   v1,base64(HMAC-SHA256(secret, id.timestamp.body)); one for each secret, so that it can change

Only what the settings name is ever asked: no redirect is followed, and no proxy is taken from the environment. TLS is
verified against the system's authorities, or those of SSL_CERT_FILE.
"""

import base64
import hashlib
import hmac
import http.client
import ssl
import time
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from whalefall import __version__
from whalefall.app.notify.message import Message, one_line
from whalefall.app.notify.sending import STEP_S, WHOLE_S, Receipt, reason_of, within

_ANSWER_MAX = 200  # characters of a refusal that are kept


@dataclass(frozen=True, slots=True)
class Webhook:
    """One address, and the secrets that sign."""

    url: str
    secrets: tuple[str, ...]
    step_s: float = STEP_S
    whole_s: float = WHOLE_S

    name = "webhook"

    @property
    def target(self) -> str:
        """Without its path: of many services the path is the password."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}"

    def send(self, message: Message) -> Receipt:
        """One try."""
        parts = urlsplit(self.url)
        connection = self._connection(parts)
        body = message.document()
        address = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        with within(self.whole_s, lambda: connection.sock) as is_late:
            try:
                connection.request("POST", address, body, self._headers(message, body))
                answer = connection.getresponse()
                said = answer.read(_ANSWER_MAX)
            except (OSError, http.client.HTTPException) as error:
                return Receipt(sent=False, sentence=self._trouble(error, is_late=is_late.is_set()))
            finally:
                connection.close()
        return self._judged(answer.status, said)

    def _connection(self, parts: SplitResult) -> http.client.HTTPConnection:
        host = parts.hostname or ""
        if parts.scheme == "https":
            context = ssl.create_default_context()
            return http.client.HTTPSConnection(host, parts.port, timeout=self.step_s, context=context)
        return http.client.HTTPConnection(host, parts.port, timeout=self.step_s)

    def _headers(self, message: Message, body: bytes) -> dict[str, str]:
        at = str(int(time.time()))
        headers = {
            "Content-Type": "application/json",
            "User-Agent": f"whalefall/{__version__}",
            "webhook-id": message.id,
            "webhook-timestamp": at,
        }
        signatures = [sign(secret, message.id, at, body) for secret in self.secrets]
        return headers | ({"webhook-signature": " ".join(signatures)} if signatures else {})

    def _trouble(self, error: Exception, *, is_late: bool) -> str:
        if is_late:
            return f"{self.target} took longer than {self.whole_s:g} s"
        if isinstance(error, OSError):
            return f"{self.target} was not reached: {reason_of(error)}"
        return f"{self.target} did not answer in HTTP ({type(error).__name__})"

    def _judged(self, status: int, said: bytes) -> Receipt:
        if 200 <= status < 300:
            return Receipt(sent=True, sentence=f"{self.target} took it ({status})")
        if 300 <= status < 400:
            sentence = f"{self.target} answered {status}: redirects are not followed; write the final address"
            return Receipt(sent=False, sentence=sentence)
        words = one_line(said.decode("utf-8", "replace"))
        return Receipt(sent=False, sentence=f"{self.target} answered {status}" + (f": {words}" if words else ""))


def sign(secret: str, message_id: str, at: str, body: bytes) -> str:
    """`v1,…`: see the head of this file."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = hmac.new(key, f"{message_id}.{at}.".encode() + body, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"
