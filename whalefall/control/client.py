"""A blocking client of the control socket, for the CLI and the pages."""

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from whalefall.control.protocol import REPLY_BYTES_MAX, SOCKET_NAME, Request, decode_reply, encode_request
from whalefall.errors import ControlError


def ask(run_dir: Path, request: Request, timeout_s: float = 10.0) -> Any:
    """The reply's data. Raises ControlError when nothing answers, or with the sentence of a refusal."""
    for data in stream(run_dir, request, timeout_s):
        return data
    raise ControlError("whalefall closed the control socket without an answer")


def stream(run_dir: Path, request: Request, timeout_s: float | None = None) -> Iterator[Any]:
    """The data of each reply line until the other side closes. Raises ControlError like `ask`."""
    path = run_dir / SOCKET_NAME
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(timeout_s)
        try:
            connection.connect(str(path))
            connection.sendall(encode_request(request))
            with connection.makefile("rb") as lines:
                while line := lines.readline(REPLY_BYTES_MAX):
                    reply = decode_reply(line)
                    if not reply.ok:
                        raise ControlError(reply.error)
                    yield reply.data
        except (FileNotFoundError, ConnectionRefusedError):
            raise ControlError(
                f"no whalefall is running here (nothing answers at {path}). Start one: whalefall serve"
            ) from None
        except TimeoutError:
            raise ControlError(f"whalefall did not answer at {path} within {timeout_s:g} s") from None
        except OSError as error:
            raise ControlError(f"cannot talk to whalefall at {path}: {error.strerror}") from None
