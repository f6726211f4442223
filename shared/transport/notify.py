"""Tells an address of the operator's of something, such as a webhook of Teams, Slack or a Logic App."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import httpx

log = logging.getLogger(__name__)

#: The address is the operator's convenience: nothing waits for it for long.
SECONDS = 10.0


async def notify(url: str, content: Mapping[str, Any], *, transport: httpx.AsyncBaseTransport | None = None) -> bool:
    """POST this JSON object once. Gives whether it was accepted; raises nothing.

    Redirects are not followed: the content is for this address alone. The address is a secret, so it is never logged.
    """
    try:
        async with httpx.AsyncClient(timeout=SECONDS, follow_redirects=False, transport=transport) as http:
            answer = await http.post(url, json=dict(content))
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        log.warning("not_notified error=%s", type(error).__name__)
        return False
    if not answer.is_success:
        log.warning("not_notified status=%d", answer.status_code)
    return answer.is_success
