"""A renewed certificate is served after `whalefall reload nginx`, and no client notices the change."""

import http.client
import ssl
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.deployment import Deployment
from tests.support.supervised import free_port
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


def issue(directory: Path) -> bytes:
    """What certbot's deploy hook finds: new files in the old places. Returns the certificate (DER)."""
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-days", "2"]
    files = ["-keyout", str(directory / "key.pem"), "-out", str(directory / "cert.pem")]
    subprocess.run([*command, *names, *files], check=True, capture_output=True, timeout=60)
    return ssl.PEM_cert_to_DER_cert((directory / "cert.pem").read_text())


def served(port: int) -> bytes:
    """The certificate that the site shows now (DER)."""
    return ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate(("127.0.0.1", port), timeout=30))


# Before any answer: http.client raises these only while it sends or waits for the status line.
CLOSED = (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError, ssl.SSLEOFError)


class Visitors:
    """Clients that stay: each keeps its connection as long as the server does, and one asks anew each time."""

    def __init__(self, port: int) -> None:
        self.port, self.good, self.failures = port, 0, list[str]()
        self.ended = threading.Event()
        self.threads = [threading.Thread(target=self._visit, args=(keep,)) for keep in (True, True, False)]
        for thread in self.threads:
            thread.start()

    def leave(self) -> None:
        self.ended.set()
        for thread in self.threads:
            thread.join(60)

    def _visit(self, keep: bool) -> None:
        context = ssl._create_unverified_context()  # noqa: S323 - of nobody, for localhost
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=30, context=context)
        while not self.ended.wait(0.01):
            reused = connection.sock is not None
            try:
                try:
                    failure = self._ask(connection, keep)
                except CLOSED:
                    connection.close()
                    if not reused:
                        raise
                    # A kept connection may be closed while the next request is on its way; RFC 9112 §9.3.1 has the
                    # client ask again on a fresh one, and browsers and urllib3 do. Nothing else is asked again.
                    failure = self._ask(connection, keep)
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                failure = repr(error)
            if failure:
                self.failures.append(failure)
            else:
                self.good += 1
        connection.close()

    def _ask(self, connection: http.client.HTTPSConnection, keep: bool) -> str:
        connection.request("GET", "/api/v1/health/basic", headers={} if keep else {"Connection": "close"})
        answer = connection.getresponse()
        try:
            answer.read()
        except (OSError, http.client.HTTPException) as error:  # it had begun to answer: no case for asking again
            connection.close()
            return repr(error)
        return "" if answer.status == 200 else f"status {answer.status}"


@pytest.fixture
def site(tmp_path: Path) -> Callable[[], Deployment]:
    return lambda: Deployment(
        tmp_path,
        TLS_CERTIFICATE=str(tmp_path / "cert.pem"),
        TLS_KEY=str(tmp_path / "key.pem"),
        TLS_PORT=str(free_port()),
    )


def test_a_renewed_certificate_is_served_after_a_reload_that_nobody_notices(
    tmp_path: Path, site: Callable[[], Deployment]
) -> None:
    old = issue(tmp_path)
    with site() as deployment:
        deployment.until_ready()
        port = int(deployment.environ["TLS_PORT"])
        assert served(port) == old
        visitors = Visitors(port)
        try:
            wait_until(lambda: visitors.good > 20, "the visitors are there")
            new = issue(tmp_path)
            reloaded = deployment.whalefall("reload", "nginx")
            assert reloaded.returncode == 0, reloaded
            wait_until(lambda: served(port) == new, "the new certificate is served", 30, deployment.story)
            good = visitors.good
            wait_until(lambda: visitors.good > good + 20, "the visitors go on", 30, deployment.story)
        finally:
            visitors.leave()
        assert visitors.failures == []


def test_a_certificate_that_is_broken_when_it_is_renewed_changes_nothing(
    tmp_path: Path, site: Callable[[], Deployment]
) -> None:
    old = issue(tmp_path)
    with site() as deployment:
        deployment.until_ready()
        (tmp_path / "cert.pem").write_text("half a certif")
        refused = deployment.whalefall("reload", "nginx")
        assert refused.returncode != 0
        assert "the old one goes on serving" in refused.stderr
        assert f'cannot load certificate "{tmp_path / "cert.pem"}"' in refused.stderr
        assert "cert.pem" in deployment.whalefall("why", "nginx").stdout
        assert served(int(deployment.environ["TLS_PORT"])) == old
