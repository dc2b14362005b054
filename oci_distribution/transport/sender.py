"""The sender: every request to every host goes through here.

In this order, each step in the function of its name: wait for a slot, authorise, send, answer a 401
once, follow redirects by hand, map a refusal to an error, retry what may be repeated (`repeating`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar
from weakref import WeakValueDictionary

import httpx

from oci_distribution.auth.authorizer import Authorizer, TokenRequest, TokenResponse
from oci_distribution.auth.direct import is_direct_request
from oci_distribution.errors import (
    BrokenAnswer,
    ForbiddenOrigin,
    LimitExceeded,
    ProtocolError,
    RequestContext,
    RequestError,
    ResponseError,
    TokenError,
    redact_url,
)
from oci_distribution.spec.endpoints import Endpoint, Kind
from oci_distribution.spec.origins import why_forbidden
from oci_distribution.spec.rate_limit import RateLimit
from oci_distribution.spec.urls import Origin
from oci_distribution.transport.answers import Answer, Held, OpenAnswer
from oci_distribution.transport.authorization import read_token_response, renewed, send_authorised
from oci_distribution.transport.calls import (
    Body,
    BodyStream,
    Call,
    HeaderList,
    Host,
    changed_by_httpx,
    parsed_url,
    split_url,
)
from oci_distribution.transport.deadline import Deadline, DeadlineStream, current_deadline, following
from oci_distribution.transport.failures import mapped_failures, response_error
from oci_distribution.transport.learned import Learned
from oci_distribution.transport.metering import MeteredStream
from oci_distribution.transport.pacing import Limits, Pace, Slots
from oci_distribution.transport.redirects import MAX_REDIRECTS, REDIRECTS, redirect_target
from oci_distribution.transport.repeating import Repeating
from oci_distribution.transport.retry import PASSING_STATUSES
from oci_distribution.transport.warned import Warned
from oci_distribution.transport.watch import watch

__all__ = ["Sender"]

MAX_ERROR_BODY = 64 << 10
"""Bytes of a refusal's body that we read."""
MAX_PACES = 1000
"""Hosts whose pace is kept while nothing is on its way to them: a registry may redirect to ever new ones."""


T = TypeVar("T")


def _unconfigured(origin: Origin) -> Host:
    return Host(str(origin), origin)


@dataclass(slots=True, repr=False)
class Sender(Repeating):
    """Sends endpoints to hosts; what is done until it succeeds is in `Repeating`.

    Args:
        http: The client that carries every request.
        authorizer: Who authorises requests; None for nobody.
        auth: A user's own scheme, in the place of `authorizer`.
        headers: A user's own headers, for requests to registries only.
        slots: How many requests a host gets at once.
        limits: How fast a host is talked to, unless it has limits of its own.
        trusted_origins: Where registries may send us in any case.
        strict_addresses: Whether the addresses behind names count, too.
        warned: Shows what registries warn of.
        host_at: Returns a host that registries send us to, token servers among them, as it is configured.
    """

    http: httpx.AsyncClient
    authorizer: Authorizer | None = None
    auth: httpx.Auth | None = None
    headers: HeaderList = ()
    slots: Slots = field(default_factory=Slots)
    limits: Limits = field(default_factory=Limits)
    trusted_origins: Collection[Origin] = ()
    strict_addresses: bool = False
    warned: Warned = field(default_factory=Warned)
    host_at: Callable[[Origin], Host] = _unconfigured
    _learned: dict[Origin, Learned] = field(default_factory=dict[Origin, Learned], init=False)
    _paces: dict[Origin, Pace] = field(default_factory=dict[Origin, Pace], init=False)
    _paces_in_use: WeakValueDictionary[Origin, Pace] = field(
        default_factory=WeakValueDictionary[Origin, Pace], init=False
    )

    async def request(
        self,
        host: Host,
        endpoint: Endpoint,
        *,
        limit: int,
        headers: HeaderList = (),
        body: Body | bytes | None = None,
    ) -> Answer:
        """Send an endpoint, and return its answer with the whole body.

        Args:
            host: The registry.
            endpoint: What to send.
            limit: Longest body that we are willing to hold, in bytes.
            headers: Added to those of the endpoint.
            body: What to send along.

        Raises:
            RequestError: Every way in which it can fail.
            LimitExceeded: The answer is longer than `limit`.
        """

        async def once(call: Call) -> Answer:
            async with await self._exchange(call) as answer:
                if not answer.took_all:
                    # It cannot have stored what it did not read, nor did we verify it.
                    raise BrokenAnswer(
                        "the answer came before the whole body was taken", context=answer.context
                    )
                return await answer.read(limit)

        headers = (*headers, *self._headers_of(host))
        return await self._retrying(once, self._call(host, endpoint, headers, body))

    async def open(self, host: Host, endpoint: Endpoint, *, headers: HeaderList = ()) -> OpenAnswer:
        """Send an endpoint, and return its answer with the body still to come: close it.

        Raises:
            RequestError: Every way in which it can fail before the body starts.
        """
        call = self._call(host, endpoint, (*headers, *self._headers_of(host)), None)
        return await self._retrying(self._exchange, call)

    async def fetch_token(self, request: TokenRequest) -> TokenResponse:
        """Send a request for a token: paced, retried and bounded like the rest, and never redirected."""
        origin = Origin.of(request.url)
        endpoint = Endpoint(request.method, request.url, frozenset(range(100, 600)), "")
        # A user's own headers are for registries, but for the name.
        name = [header for header in self.headers if header[0].lower() == "user-agent"]
        host = self.host_at(origin)
        if host.timeouts is None and request.registry is not None:
            host = replace(host, timeouts=self.host_at(request.registry).timeouts)
        call = self._call(host, endpoint, (*name, *request.headers), request.body)
        call = replace(call, sent_by=request.registry)

        async def once(call: Call) -> TokenResponse:
            async with await self._send(call, None) as answer:
                if answer.status in PASSING_STATUSES:
                    raise await self._refusal(call, answer)
                return await read_token_response(answer)

        try:
            # For all who wait for it: it has a deadline of its own, and not that of the first one.
            with following(None):
                return await self._retrying(once, call)
        except (ResponseError, LimitExceeded) as error:
            # It must not look like the registry's own answer: nothing is known about the content.
            raise TokenError(f"the token server failed: {error.args[0]}", context=error.context) from error

    def learned(self, host: Host) -> Learned:
        """Return what a host has taught us, to read and to add to."""
        learned = self._learned.get(host.origin)
        if learned is None:
            learned = self._learned[host.origin] = Learned.from_profile(host.profile)
        return learned

    def _headers_of(self, host: Host) -> HeaderList:
        """Return what a user wants to be sent with each request to a host, and to no other."""
        if not host.headers:
            return self.headers
        names = {name.lower() for name, _ in host.headers}
        return [*(header for header in self.headers if header[0].lower() not in names), *host.headers]

    def _call(self, host: Host, endpoint: Endpoint, headers: HeaderList, body: Body | bytes | None) -> Call:
        fixed = [("Accept", endpoint.accept), ("Accept-Encoding", "identity"), *endpoint.headers, *headers]
        is_home = endpoint.target.startswith("/") or Origin.of(endpoint.target) == host.origin
        seen = watch(self.observer, self.timing.now)
        return Call(host, endpoint, host.url(endpoint.target), fixed, body, is_home=is_home, watch=seen)

    async def _retrying(self, once: Callable[[Call], Awaitable[T]], call: Call) -> T:
        return await self.repeat(
            call.host,
            call.endpoint,
            lambda attempt: once(call if attempt == call.attempt else replace(call, attempt=attempt)),
        )

    async def _exchange(self, call: Call) -> OpenAnswer:
        """Send one request, wherever it is redirected to; what comes back is an accepted answer."""
        for _ in range(MAX_REDIRECTS + 1):
            answer = await self._authorised(call)
            if answer.status in call.endpoint.accepted:
                return answer
            async with answer:
                if answer.status not in REDIRECTS:
                    raise await self._refusal(call, answer)
                target = redirect_target(call, answer)
                self.check_target(call.host, target, answer.context)
                await answer.discard(MAX_ERROR_BODY)
            if call.watch is not None:
                call.watch.redirected(target)
            call = call.sent_to(target)
        raise ProtocolError(f"redirected more than {MAX_REDIRECTS} times", context=call.context)

    def check_target(self, host: Host, target: str, context: RequestContext) -> None:
        """Make sure that a registry may send us to `target`, an absolute URL.

        Raises:
            ForbiddenOrigin: It may not.
        """
        reason = why_forbidden(host.origin, target, trusted=self.trusted_origins)
        if reason is not None:
            raise ForbiddenOrigin(
                f"{host.registry} sends us to {redact_url(target)}: {reason}", context=context
            )

    async def _authorised(self, call: Call) -> OpenAnswer:
        """Send one request with our authorization, if its origin is the registry's own."""
        authorizer = self.authorizer
        if is_direct_request():
            return await self._send(call.without_header("authorization"), None)
        if authorizer is None or not call.is_home:
            return await self._send(call, None)
        return await send_authorised(authorizer, call, self._send, self._refusal)

    def _own_auth(self, call: Call) -> httpx.Auth | None:
        """Return the user's own scheme where it may be used."""
        if self.auth is None or not call.is_home or is_direct_request():
            return None
        return self.auth

    async def _refusal(self, call: Call, answer: OpenAnswer) -> RequestError:
        content = await answer.read_head(MAX_ERROR_BODY)
        error = response_error(call.endpoint, answer.context, content)
        if error.retry_after and error.status in PASSING_STATUSES:
            self._pace(call.host, split_url(call.url)[0]).hold_off(error.retry_after)
        return error

    async def _send(self, call: Call, authorization: str | None) -> OpenAnswer:
        """Send one request once, as soon as its host has a slot for it; the answer holds the slot."""
        context = call.context
        admission = await self._pace(call.host, split_url(call.url)[0]).acquire(call.endpoint.kind)
        held = Held(admission.release)
        deadline = current_deadline()
        try:
            self.home.check()  # it may have been closed while we waited
            if authorization is not None and self.authorizer and call.endpoint.kind is Kind.UPLOAD:
                authorization = await renewed(self.authorizer, call, authorization)
            if deadline is not None:
                deadline.doing = f"waiting for the answer to {context.method} {context.url}"
            with mapped_failures(context):
                request = await self._request(call, authorization, held)
                if call.watch is not None:
                    call.watch.sent(call)
                response = await self.http.send(
                    request, stream=True, auth=self._own_auth(call), follow_redirects=False
                )
            if response.is_stream_consumed:
                # A hook or an `httpx.Auth` of the user's has read it.
                response.stream = httpx.ByteStream(response.content)
            if deadline is not None or (call.host.limits or self.limits).bytes_per_second is not None:
                self._guard(call, response, held, deadline)
            if call.watch is not None:
                call.watch.received(response)
            answer = OpenAnswer(response, call.url, context, held, request.stream)
            answer.authorization = authorization
            admission.answered(answer.status, answer.headers)
            if call.is_home and "Warning" in response.headers:
                self.warned.take(call.host.registry, response.headers.get_list("Warning"))
        except BaseException as error:
            await held.close()
            if call.watch is not None:
                call.watch.failed(error)
            raise
        return answer

    async def _request(self, call: Call, authorization: str | None, held: Held) -> httpx.Request:
        url = call.url
        origin, target = split_url(url)
        headers = [("Host", origin.netloc), *call.headers_to_send(authorization)]
        stream: httpx.AsyncByteStream = httpx.ByteStream(b"")
        if isinstance(call.body, bytes):
            stream = httpx.ByteStream(call.body)
            self._home_pace(call).charge(len(call.body))
            headers.append(("Content-Length", str(len(call.body))))
        elif call.body is not None:
            held.bodies = AsyncExitStack()
            opened = await held.bodies.enter_async_context(call.body.open(0))
            stream = BodyStream(call.body, opened, held.bodies, self._home_pace(call).writes)
            headers.append(("Content-Length", str(call.body.size)))
        elif call.endpoint.method not in {"GET", "HEAD", "DELETE"}:
            headers.append(("Content-Length", "0"))
        timeouts = self.timeouts_of(call.host)
        extensions: dict[str, Any] = {"timeout": timeouts.of(call.endpoint.kind)}
        if changed_by_httpx(url):
            extensions["target"] = target
        if self.strict_addresses and self._is_sent_away(call, origin):
            extensions["public_only"] = True
        request = httpx.Request(
            call.endpoint.method, parsed_url(url), headers=headers, stream=stream, extensions=extensions
        )
        request.headers.encoding = "ascii"  # as they were encoded; httpx would try that anew at each look
        return request

    def _is_sent_away(self, call: Call, origin: Origin) -> bool:
        """Say whether a public registry sends us to another origin, which must be public, too, then."""
        by = call.sent_by or call.host.origin
        return origin != by and origin not in self.trusted_origins and not by.is_local

    def _guard(self, call: Call, response: httpx.Response, held: Held, deadline: Deadline | None) -> None:
        """Let a body come no faster than allowed, and one that is read when we have returned in time."""
        assert isinstance(response.stream, httpx.AsyncByteStream)
        if deadline is not None and call.endpoint.kind is Kind.DOWNLOAD:
            response.stream = DeadlineStream(response.stream, deadline, call.context)
        if (cap := self._home_pace(call).reads) is not None:
            response.stream = held.metered = MeteredStream(response.stream, cap)

    def rate_limit(self, host: Host) -> RateLimit | None:
        """Return what a host said last of its rate limit; None when it said nothing."""
        return self._pace(host, host.origin).rate_limit

    def _home_pace(self, call: Call) -> Pace:
        """Return the pace of the registry, which caps the bytes of the storage behind it, too."""
        return self._pace(call.host, call.host.origin)

    def _pace(self, host: Host, origin: Origin) -> Pace:
        pace = self._paces.get(origin)
        return self._new_pace(host, origin) if pace is None else pace

    def _new_pace(self, host: Host, origin: Origin) -> Pace:
        is_home = origin == host.origin
        known = host if is_home else self.host_at(origin)
        # Whoever still waits for the host, or holds a slot of it, has kept the pace of those days.
        pace = self._paces_in_use.get(origin) or Pace(
            host.registry if is_home else origin.netloc,
            known.slots or self.slots,
            known.limits or self.limits,
            timing=self.timing,
            max_wait=self.retry.max_retry_after,
        )
        self._paces[origin] = self._paces_in_use[origin] = pace
        if len(self._paces) > MAX_PACES:
            del self._paces[next(iter(self._paces))]
        return pace

    def __repr__(self) -> str:
        return f"<Sender over {self.http!r}>"
