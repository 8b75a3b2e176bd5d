"""Bearer tokens (RFC 6750), one of which every request must have."""

import hmac
import logging
import os
import pathlib
import time

from serving.status import Code, RequestError

PERIOD = 1.0  # seconds between looks at whether the file has changed
SCHEME = b"bearer "
CHALLENGE = b"www-authenticate: Bearer\r\n"
log = logging.getLogger(__name__)


class Tokens:
    """The tokens in a file, one a line, any of which is accepted. The file is read again when it changes.

    Raises:
        ValueError: the file cannot be read, or has no token.
    """

    def __init__(self, path: str | os.PathLike):
        self._path, self._looked = pathlib.Path(path), time.monotonic()
        self._changed, self._tokens = self._read()

    def require(self, authorization: bytes) -> None:
        """Accepts the value of an `Authorization` header.

        Raises:
            RequestError: UNAUTHENTICATED, it has none of the tokens.
        """
        self._follow()
        given = authorization[len(SCHEME) :].strip() if authorization[: len(SCHEME)].lower() == SCHEME else b""
        # Every token is compared, so that the time tells nothing about them.
        if not sum(hmac.compare_digest(given, token) for token in self._tokens):
            received = "another token" if given else "none"
            message = (
                f"Expected a token, Authorization: Bearer …. Received: {received}. Try one of the server's --auth_token_file."
            )
            raise RequestError(Code.UNAUTHENTICATED, message, headers=CHALLENGE)

    def _follow(self) -> None:
        if (now := time.monotonic()) - self._looked < PERIOD:
            return
        self._looked = now
        try:
            if self._path.stat().st_mtime_ns != self._changed:
                self._changed, self._tokens = self._read()
        except (ValueError, OSError) as error:  # while it is being replaced, those before are good
            log.warning("%s", error)

    def _read(self) -> tuple[int, list[bytes]]:
        try:
            changed, text = self._path.stat().st_mtime_ns, self._path.read_bytes()
        except OSError as error:
            raise ValueError(f"Expected a file of tokens, one a line. Received: {self._path} ({error.strerror}).") from None
        tokens = [line.strip() for line in text.splitlines() if line.strip()]
        if not tokens:
            raise ValueError(f"Expected a file of tokens, one a line. Received: {self._path}, which has none.")
        return changed, tokens
