"""Errors for requests that a registry denies, with or without credentials."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ecr_image_replicator.errors import DeniedError, Setting, Side
from ecr_image_replicator.request.credentials import CREDENTIALS_SETTINGS

if TYPE_CHECKING:
    from ecr_image_replicator.errors import Part

REFERENCE_SETTINGS: Final = {
    Side.SOURCE: Setting.SOURCE,
    Side.DESTINATION: Setting.DESTINATION,
}
_RIGHTS: Final = {Side.SOURCE: "pull from", Side.DESTINATION: "push to"}


def authentication_error(
    failed: str,
    found: str,
    *,
    side: Side,
    login_origin: Part | None,
    unused_origin: Part | None = None,
    status: int,
    code: str = "UNAUTHORIZED",
) -> DeniedError:
    """Return the error for credentials that were rejected, or that are missing.

    Parameters
    ----------
    failed
        What failed: ``cannot pull docker.io/acme/app:1.0``.
    found
        The response: ``401 Unauthorized from auth.docker.io``.
    login_origin
        Where the credentials in use come from; None when there are none.
    unused_origin
        Where credentials come from that the registry did not request.
    """
    if login_origin is None:
        return _denied_without_login(failed, found, side, unused_origin, status, code)
    return DeniedError(
        f"{failed}: authentication failed ({found}) with the credentials in ",
        login_origin,
        hint="Check the user name and the password there.",
        side=side,
        status=status,
        code=code,
    )


def access_denied_error(
    failed: str,
    found: str,
    *,
    side: Side,
    login_origin: Part | None,
    unused_origin: Part | None,
    status: int,
    code: str,
) -> DeniedError:
    """Return the error for a login without permission; parameters as of `authentication_error`."""
    if login_origin is None:
        return _denied_without_login(failed, found, side, unused_origin, status, code)
    return DeniedError(
        f"{failed}: access denied ({found}) with the credentials in ",
        login_origin,
        hint=f"Allow that account to {_RIGHTS[side]} the repository.",
        side=side,
        status=status,
        code=code,
    )


def _denied_without_login(
    failed: str, found: str, side: Side, unused_origin: Part | None, status: int, code: str
) -> DeniedError:
    denied = f"{failed}: access denied ({found})"
    if unused_origin is None:
        return DeniedError(
            f"{denied} and no credentials were given",
            hint=("Set ", CREDENTIALS_SETTINGS[side], "."),
            side=side,
            status=status,
            code=code,
        )
    return DeniedError(
        f"{denied}, and the registry did not request the credentials in ",
        unused_origin,
        hint=("Check the host and the repository in ", REFERENCE_SETTINGS[side], "."),
        side=side,
        status=status,
        code=code,
    )


def denied_elsewhere(
    failed: str, found: str, host: str, *, side: Side, status: int, code: str
) -> DeniedError:
    """Return the error for a 401 or 403 of a host that the registry redirected to.

    The registry's credentials are not sent there.
    """
    return DeniedError(
        f"{failed}: access denied by {host}, to which the registry redirected ({found})",
        hint="Allow requests to that host; the policy of a VPC endpoint or a proxy may deny them.",
        side=side,
        status=status,
        code=code,
    )
