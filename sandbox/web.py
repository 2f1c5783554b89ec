"""Small HTTP calls to the sandbox's own endpoints: health probes and the few API requests it makes itself."""

from __future__ import annotations

import http.client
import json
import ssl
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Answer:
    """Status 0 means that nobody answered; `text` then says why."""

    status: int
    text: str

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    def json(self) -> Any:
        return json.loads(self.text)


def trust(ca_file: Path, certificate: Path | None = None) -> ssl.SSLContext:
    """Verify servers against the sandbox CA; present the certificate (with its key in one file) if given."""
    context = ssl.create_default_context(cafile=str(ca_file))
    if certificate is not None:
        context.load_cert_chain(str(certificate))
    return context


# The sandbox talks to loopback only: a proxy named in the environment must not see these calls.
_NO_PROXY = urllib.request.ProxyHandler({})


def call(
    url: str,
    *,
    method: str = "GET",
    body: object = None,
    tls: ssl.SSLContext | None = None,
    timeout_s: float = 5,
) -> Answer:
    """One request; never raises for what a server or a missing server does."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json", "Accept": "application/json, */*"}
    request = urllib.request.Request(url, data=data, method=method, headers=headers)
    opener = urllib.request.build_opener(_NO_PROXY, urllib.request.HTTPSHandler(context=tls))
    try:
        with opener.open(request, timeout=timeout_s) as response:
            return Answer(response.status, response.read().decode(errors="replace"))
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, error.read().decode(errors="replace"))
    except (OSError, http.client.HTTPException) as error:
        return Answer(0, str(error))
