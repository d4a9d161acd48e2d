"""Reasons for which a request gets no result, each with its HTTP status and a word that programs can compare."""

from jaxqc.errors import UserError


class Fault(Exception):
    """A request that is refused. `status`: of HTTP. `reason`: a word for programs and for the counter of refusals."""

    status = 500
    reason = "internal"

    def __init__(self, message: str = "", retry_after: int | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").splitlines()[0])
        self.retry_after = retry_after
        """Seconds; None = trying again is of no use."""


class Full(Fault):
    """The server works on as much as it takes; try again later."""

    status, reason = 503, "full"


class NotReady(Fault):
    """The server is still starting; try again later."""

    status, reason = 503, "starting"


class Closing(Fault):
    """The server is being stopped; try again later or elsewhere."""

    status, reason = 503, "stopping"


class Late(Fault):
    """The deadline passed before there was an answer."""

    status, reason = 504, "deadline"


class TooLarge(Fault):
    """The body is above the limit."""

    status, reason = 413, "bytes"


class TooSlow(Fault):
    """The body did not come in time."""

    status, reason = 408, "slow"


class Bad(Fault):
    """The request cannot be understood."""

    status, reason = 422, "request"


class Absent(Fault):
    """No such thing in the ledger."""

    status, reason = 404, "absent"


class LedgerDown(Fault):
    """The ledger or the pictures' folder cannot be used now."""

    status, reason = 503, "ledger"


class Refused(Fault):
    """The token is missing or wrong."""

    status, reason = 401, "token"


class Foreign(Fault):
    """The request comes from another web site."""

    status, reason = 403, "origin"


class Gone(Fault):
    """The client left."""

    status, reason = 499, "gone"


def as_bad(error: UserError) -> Bad:
    """The fault of a client's input, in the error's own words."""
    return Bad(str(error))
