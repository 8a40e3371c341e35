"""Files by https.  Owns: one request, its bounds, its key; what was fetched before.
Knows: urllib, whose default openers also read files and plain http, so that they are not used;
RFC 9110 (ETag, If-Modified-Since).  Never: showing a key, or the address that one led to."""

from __future__ import annotations

import base64
import email.utils
import http.client
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.parse import quote, urlsplit

from gateway.config.updates import Form, HttpsSource
from gateway.errors import DataError
from gateway.supply.cache import Cache, Kept
from gateway.supply.fetched import MAX_FETCHED_LEN, Fetched, fetched, read_bounded, sha256

_MAX_REDIRECTS = 5
# Octets read at once: the deadline is looked at between reads.
_READ_LEN = 1 << 16
# Seconds without one octet.
_IDLE_TIMEOUT_S = 30.0
_UNDATED = (Form.CSV, Form.IPTOASN, Form.OWNERS)


@dataclass(frozen=True, slots=True)
class Paths:
    """The files that a source names, as paths of this process."""

    key_file: Path | None = None
    ca: Path | None = None


class Https:
    """A file of a publisher, fetched again only if it changed."""

    def __init__(
        self, section: HttpsSource, paths: Paths, cache: Cache, clock: Callable[[], float]
    ) -> None:
        """Fetch nothing yet.

        Args:    clock: seconds, monotonic.
        """
        self._section = section
        self._paths = paths
        self._cache = cache
        self._clock = clock
        parts = urlsplit(section.url)
        self.shown = f"https://{parts.netloc}{parts.path}"
        """The address without its query, and with {key} unfilled: what people may see."""

    def fetch(self) -> tuple[Fetched, ...]:
        """Source API."""
        key = self._key()
        kept = self._cache.get(self._section.url)
        url = self._section.url.replace("{key}", quote(key, safe=""))
        headers = self._authorization(key) | (_conditions(kept) if kept else {})
        answer = self._get(url, headers, MAX_FETCHED_LEN)
        if answer is None and kept is None:
            raise DataError(self.shown, "is unchanged, and was never fetched", "a file")
        if answer is None:
            assert kept is not None
            # It may have been fetched before anybody asked for a sum.
            self._check_sum(kept.data, key)
            return (self._said(kept.data, kept.modified),)
        data, said = answer
        self._check_sum(data, key)
        modified = said.get("Last-Modified", "")
        self._cache.put(self._section.url, Kept(data, said.get("ETag", ""), modified))
        return (self._said(data, modified),)

    def _said(self, data: bytes, modified: str) -> Fetched:
        built = self._section.built_text
        if not built and self._section.form in _UNDATED:
            built = _day(modified)
        return fetched(data, self._section, self.shown, built)

    def _check_sum(self, data: bytes, key: str) -> None:
        if self._section.sha256_url is None:
            return
        url = self._section.sha256_url.replace("{key}", quote(key, safe=""))
        answer = self._get(url, self._authorization(key), 1 << 16)
        words = answer[0].decode("ascii", "replace").split() if answer else []
        if not words or words[0].lower() != sha256(data):
            what = f"has SHA-256 {sha256(data)[:16]}…"
            raise DataError(self.shown, what, "the one that its sha256_url gives")

    def _key(self) -> str:
        path = self._paths.key_file
        if path is None:
            return ""
        key = read_bounded(path).decode("utf-8", "replace").strip()
        if not key or not key.isascii() or not key.isprintable():
            raise DataError(str(path), "is no key", "one line of text")
        return key

    def _authorization(self, key: str) -> dict[str, str]:
        if not key or "{key}" in self._section.url:
            return {}
        if not self._section.user:
            return {"Authorization": f"Bearer {key}"}
        pair = base64.b64encode(f"{self._section.user}:{key}".encode()).decode()
        return {"Authorization": f"Basic {pair}"}

    def _get(
        self, url: str, headers: Mapping[str, str], most: int
    ) -> tuple[bytes, http.client.HTTPMessage] | None:
        """Get a file; None: it is as it was."""
        deadline = self._clock() + self._section.timeout_s
        request = urllib.request.Request(url, headers={"User-Agent": "rtc-gateway", **headers})
        idle_s = min(_IDLE_TIMEOUT_S, self._section.timeout_s)
        try:
            with self._opener().open(request, timeout=idle_s) as response:
                return self._body(response, deadline, most), response.headers
        except urllib.error.HTTPError as error:
            with error:
                if error.code == 304:
                    return None
                raise DataError(self.shown, f"answered {error.code}", "200") from None
        # Their own words may hold the address, and so the key: only what they are is told.
        except urllib.error.URLError as error:
            raise DataError(self.shown, _reason(error.reason), "an answer by https") from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise DataError(self.shown, _reason(error), "an answer by https") from None

    def _body(self, response: http.client.HTTPResponse, deadline: float, most: int) -> bytes:
        parts, length = [], 0
        while part := response.read1(_READ_LEN):
            parts.append(part)
            length += len(part)
            if length > most:
                raise DataError(self.shown, "is too large", f"{most} octets at most")
            if self._clock() > deadline:
                what = f"took more than {self._section.timeout_s:.0f} s"
                raise DataError(self.shown, what, "less, or a longer timeout_s")
        announced = response.headers.get("Content-Length")
        if announced is not None and announced != str(length):
            raise DataError(self.shown, f"is cut after {length} octets", announced)
        return b"".join(parts)

    def _opener(self) -> urllib.request.OpenerDirector:
        ca = None if self._paths.ca is None else str(self._paths.ca)
        try:
            context = ssl.create_default_context(cafile=ca)
        except (OSError, ssl.SSLError) as error:
            raise DataError(str(ca), _reason(error), "certificates (PEM)") from error
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        opener = urllib.request.OpenerDirector()
        for one in (
            urllib.request.ProxyHandler(),
            urllib.request.HTTPSHandler(context=context),
            urllib.request.HTTPErrorProcessor(),
            urllib.request.HTTPDefaultErrorHandler(),
            _Redirects(),
        ):
            opener.add_handler(one)
        return opener


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Only to https, only so many, and the key goes to its own host only."""

    max_redirections = _MAX_REDIRECTS

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        """HTTPRedirectHandler API."""
        if urlsplit(newurl).scheme != "https":
            raise ValueError("it redirects to something that is not https")
        request = super().redirect_request(req, fp, code, msg, headers, newurl)
        if request is not None and urlsplit(newurl).netloc != urlsplit(req.full_url).netloc:
            request.remove_header("Authorization")
        return request


def _conditions(kept: Kept) -> dict[str, str]:
    conditions = {"If-None-Match": kept.tag, "If-Modified-Since": kept.modified}
    return {name: value for name, value in conditions.items() if value}


def _day(modified: str) -> str:
    try:
        return email.utils.parsedate_to_datetime(modified).date().isoformat()
    except ValueError:
        return ""


def _reason(error: object) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({error.verify_message})"
    if isinstance(error, TimeoutError):
        return "does not answer"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, ValueError) and str(error).startswith("it redirects"):
        return str(error)
    return type(error).__name__
