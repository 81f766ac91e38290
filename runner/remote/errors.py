"""What can go wrong between a caller and an endpoint."""

from runner.errors import RunnerError


class EndpointError(RunnerError):
    """The endpoint cannot be used, or does not answer as a callsheet worker does."""

    code = "endpoint_error"


class EndpointUnavailable(EndpointError):
    """It is not reached, or asks to come later. A job that it has goes on."""

    code = "endpoint_unavailable"
    retryable = True


class ResultExpired(EndpointError):
    """The endpoint knows the job no more; what it has stored stays where it is."""

    code = "result_expired"
    retryable = True
