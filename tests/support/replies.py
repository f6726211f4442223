"""An HTTP server that gives prepared replies in turn, and a clock that moves only when somebody sleeps."""

import httpx

Reply = httpx.Response | Exception


class Replies:
    """`requests` are those that came; `slept` is what was slept, in seconds."""

    def __init__(self, *replies: Reply) -> None:
        self.replies = list(replies)
        self.requests: list[httpx.Request] = []
        self.now = 0.0
        self.slept: list[float] = []

    def clock(self) -> float:
        """Return the seconds that were slept so far, or what a test sets."""
        return self.now

    async def sleep(self, seconds: float) -> None:
        """Let time pass, at once."""
        self.slept.append(seconds)
        self.now += seconds

    def answer(self, request: httpx.Request) -> httpx.Response:
        """Give the next reply, or raise it."""
        self.requests.append(request)
        return given(self.replies.pop(0))

    def http(self, base_url: str) -> httpx.AsyncClient:
        """Return a client that this answers."""
        return httpx.AsyncClient(base_url=base_url, transport=httpx.MockTransport(self.answer))


def given(reply: Reply) -> httpx.Response:
    """Return a reply, or raise the error that takes its place."""
    if isinstance(reply, Exception):
        raise reply
    return reply
