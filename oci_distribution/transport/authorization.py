"""Authorization on its way: what a 401 is answered with, and how often."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio

from oci_distribution.auth.authorizer import Authorizer, TokenResponse
from oci_distribution.auth.token_server import MAX_TOKEN_BODY, TOKEN_TIMEOUT
from oci_distribution.errors import RequestError, TimeoutExceeded
from oci_distribution.transport.answers import OpenAnswer
from oci_distribution.transport.calls import Call
from oci_distribution.transport.deadline import doing
from oci_distribution.transport.failures import denial

__all__ = ["read_token_response", "renewed", "send_authorised"]

MAX_REFUSALS = 2
"""Refusals that we have an answer to: to what we did not know, and to what was the wrong scope."""
_WAITING = "waiting for credentials or a token"


async def send_authorised(
    authorizer: Authorizer,
    call: Call,
    send: Callable[[Call, str | None], Awaitable[OpenAnswer]],
    refusal_of: Callable[[Call, OpenAnswer], Awaitable[RequestError]],
) -> OpenAnswer:
    """Send a request to the registry itself, and again after a 401 that there is a better answer to.

    Args:
        authorizer: Who knows what to say.
        call: The request.
        send: Sends it once, with a value of `Authorization`.
        refusal_of: Reads a refusing answer.

    Raises:
        Denied: A token that was made for just this was refused.
        RequestError: Another way in which it can fail.
    """
    host, scope, desired = call.host, call.endpoint.scope, call.endpoint.desired
    # Who waits for what another task asks for already has nobody else to say so.
    doing(_WAITING)
    value = await authorizer.authorize(host.origin, host.registry, scope, desired=desired)
    refusals = 0
    while True:
        answer = await send(call, value)
        if answer.status != 401 or not (challenges := answer.headers.get_list("WWW-Authenticate")):
            return answer
        async with answer:
            refusal = await refusal_of(call, answer)
        sent, value = answer.authorization, None
        if refusals < MAX_REFUSALS:
            doing(_WAITING)
            value = await authorizer.answer(
                host.origin, host.registry, scope, challenges, sent, desired=desired, again=refusals > 0
            )
        if value is None:
            is_final = authorizer.is_denial(host.origin, host.registry, scope, sent, desired=desired)
            raise denial(refusal) if is_final else refusal
        refusals += 1


async def renewed(authorizer: Authorizer, call: Call, value: str) -> str:
    """Return a value of `Authorization` that lasts for a long body, which is about to be sent.

    Only now: a stream may have waited for its slot for longer than a token lives. It keeps it meanwhile,
    since requests for tokens are small, and wait for no stream.
    """
    if call.body is None or isinstance(call.body, bytes):
        return value
    host, endpoint = call.host, call.endpoint
    doing(_WAITING)
    lasting = await authorizer.authorize(
        host.origin, host.registry, endpoint.scope, desired=endpoint.desired, lasting=True
    )
    return lasting or value


async def read_token_response(answer: OpenAnswer) -> TokenResponse:
    """Read what a token server answers.

    Raises:
        LimitExceeded: It is too long.
        TimeoutExceeded: It takes too long as a whole, as one byte a minute would.
    """
    try:
        with anyio.fail_after(TOKEN_TIMEOUT):
            content = (await answer.read(MAX_TOKEN_BODY)).content
    except TimeoutError as error:
        raise TimeoutExceeded("the token server takes too long", context=answer.context) from error
    return TokenResponse(answer.status, answer.headers, content)
