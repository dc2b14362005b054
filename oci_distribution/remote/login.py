"""Logging in: whether a registry takes a credential, before it is stored."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from oci_distribution.auth.authorizer import Authorizer, TokenOptions
from oci_distribution.auth.cache import MemoryChallengeCache
from oci_distribution.auth.credentials import Credential
from oci_distribution.errors import ResponseError, Unauthorized
from oci_distribution.spec import endpoints
from oci_distribution.transport.answers import SMALL_ANSWER
from oci_distribution.transport.retry import PASSING_STATUSES

if TYPE_CHECKING:
    from oci_distribution.transport.calls import Host
    from oci_distribution.transport.sender import Sender

__all__ = ["Login", "check_credential"]


@dataclass(frozen=True, slots=True)
class Login:
    """What became of a login.

    Args:
        stored_in: Path of the file that holds the credential now, or of the helper that does.
        is_checked: Whether the registry, or its token server, looked at the credential and took it. False
            where nobody asked for one: then a wrong password is found out by the first request that needs it.
    """

    stored_in: str
    is_checked: bool


async def check_credential(sender: Sender, host: Host, credential: Credential) -> bool:
    """Ask a registry whether it takes a credential; False when it would not look at one.

    Where everybody may ping, the list of repositories is asked for: it is what registries guard first, and
    who is known and may not see it is told so.

    Raises:
        Unauthorized: The registry does not take it.
        RequestError: The token server does not, or a request failed.
    """
    challenges = MemoryChallengeCache()
    known = sender.authorizer
    options = known.options if known is not None else TokenOptions()

    async def provider(host: str, repository: str | None) -> Credential:
        del host, repository
        return credential

    # Nothing but the credential may let us in.
    headers = [header for header in sender.headers if header[0].lower() != "authorization"]
    own = replace(sender, authorizer=None, auth=None, headers=headers)
    own.authorizer = Authorizer(
        provider, own.fetch_token, challenges, options=options, trusted_origins=sender.trusted_origins
    )
    await own.request(host, endpoints.ping(), limit=SMALL_ANSWER)
    if await challenges.get(host.origin) is not None:
        return True
    try:
        async with await own.open(host, endpoints.list_repositories(n=1)):
            pass
    except Unauthorized:
        if await challenges.get(host.origin) is not None:
            raise
    except ResponseError as error:
        # Some have no such list, and others refuse it to all; a challenge came before if anything did.
        if error.status in PASSING_STATUSES:
            raise
    return await challenges.get(host.origin) is not None
