"""Calls a Kubeflow Pipelines server through `kfp.Client` with time limits.

`kfp.Client` provides configuration and authentication; calls go to its generated API
(`client.runs`, `client.pipelines`, ...), where each takes a time limit. The client's own methods
have none, print to standard output, and create experiments with mistyped names.

Importing kfp takes seconds and its constructor may contact the server: both happen at first use.
"""

from __future__ import annotations

import contextlib
import functools
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ordain.errors import ConfigError
from ordain.kubeflow.client.errors import bad_response, explain, login_page
from ordain.kubeflow.client.health import DOING, About, read_about
from ordain.kubeflow.client.settings import DOCS, Connection

CONNECT_S = 5.0
READ_S = 30.0
#: Retries of connecting, and of reading after a gateway failure.
RETRIES = 3
BACKOFF_S = 0.3
#: A longer Retry-After counts as a failure.
LONGEST_WAIT_S = 10.0
PAGE_SIZE = 50
#: Pages of one listing that are read; at PAGE_SIZE each that is 5,000 entries.
MAX_PAGES = 100
#: Chunk size of a streamed response.
PIECE_BYTES = 65_536


@dataclass(frozen=True)
class Missing:
    """The error to raise when a call returns 404.

    Attributes:
        what: The missing object, such as `run 1234`.
        hint: The next command.
    """

    what: str
    hint: str


class Server:
    """A Kubeflow Pipelines server; nothing is imported or sent before the first call.

    Args:
        connection: Address and credentials.
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def call(
        self,
        doing: str,
        api: str,
        operation: str,
        missing: Missing | None = None,
        **arguments: Any,
    ) -> Any:
        """Calls one operation of the API.

        Args:
            doing: The action, for errors: `listing the runs`.
            api: Name of a service on `kfp.Client`: `runs`, `pipelines`, `recurring_runs`.
            operation: Name of the operation of kfp-server-api.
            missing: The error for a 404; None: an error like any other.
            arguments: Arguments of the operation; those that are None are left out.

        Returns:
            The response as a model of kfp-server-api.

        Raises:
            ConfigError: The object is unknown, or the server denies or refuses the request.
            InfrastructureError: The server is unreachable or failed.
        """
        given = {key: value for key, value in arguments.items() if value is not None}
        # First, so that another kind of server's 404 is not mistaken for a missing object.
        _ = self.about
        with self._explained(doing, missing):
            method = getattr(getattr(self.kfp, api), operation)
            response = method(**given, _request_timeout=(CONNECT_S, READ_S))
            kind = self.api_client.last_response.getheader("content-type") or ""
            # A web page instead of JSON would become a model without any field set.
            if "json" not in kind:
                raise login_page(doing, self.connection)
            return response

    def pages(
        self, doing: str, api: str, operation: str, field: str, **arguments: Any
    ) -> Iterator[Any]:
        """The entries of a listing, one after the other, over all its pages.

        Args:
            doing: As for `call`.
            api: As for `call`.
            operation: An operation that lists.
            field: Name of the response's field with the entries.
            arguments: As for `call`.

        Raises:
            ConfigError: As for `call`; also when there are more than `MAX_PAGES` pages.
            InfrastructureError: As for `call`.
        """
        token = None
        for _ in range(MAX_PAGES):
            response = self.call(
                doing, api, operation, page_size=PAGE_SIZE, page_token=token, **arguments
            )
            yield from getattr(response, field) or ()
            token = response.next_page_token
            if not token:
                return
        raise ConfigError(
            f"{doing}: more than {MAX_PAGES * PAGE_SIZE} entries at {self.connection.host}",
            "delete old ones, or pass a PROJECT with fewer",
        )

    def stream(self, doing: str, path: str, **values: str) -> Iterator[bytes]:
        """Streams the body of a path outside of the generated API.

        Args:
            doing: As for `call`.
            path: The path, with names in braces.
            values: Values for these names.

        Raises:
            ConfigError: As for `call`.
            InfrastructureError: As for `call`.
        """
        with self._explained(doing):
            response = self.api_client.call_api(
                path,
                "GET",
                path_params=values,
                auth_settings=["Bearer"],
                _preload_content=False,
                _request_timeout=(CONNECT_S, READ_S),
            )
            try:
                # The UI's server returns its own page for unknown paths.
                if "html" in (response.headers.get("content-type") or ""):
                    raise login_page(doing, self.connection)
                yield from response.stream(PIECE_BYTES)
            finally:
                response.close()

    @functools.cached_property
    def about(self) -> About:
        """The server's version and mode; requested once.

        Raises:
            ConfigError: It is not a Kubeflow Pipelines server of major version 2.
            InfrastructureError: As for `call`.
        """
        return read_about(self.connection, self._read_json)

    @property
    def namespace(self) -> str | None:
        """The namespace to send; None for a single-user server, which refuses any.

        Raises:
            ConfigError: The server is multi-user and no namespace was given.
            InfrastructureError: As for `call`.
        """
        if not self.about.is_multi_user:
            return None
        if self.connection.namespace is None:
            raise ConfigError(
                f"{self.connection.host} is a multi-user server: a namespace is required",
                "--namespace, or kubeflow.namespace in pipeline.yaml; "
                "kubectl get profiles lists them",
            )
        return self.connection.namespace

    def _read_json(self, path: str) -> Any:
        with self._explained(DOING):
            return self.api_client.call_api(
                path,
                "GET",
                response_type="object",
                auth_settings=["Bearer"],
                _return_http_data_only=True,
                _request_timeout=(CONNECT_S, READ_S),
            )

    @functools.cached_property
    def kfp(self) -> Any:
        """The SDK's client, created at first use."""
        from kfp.client import set_volume_credentials  # noqa: PLC0415  takes seconds
        from urllib3 import Retry  # noqa: PLC0415

        from ordain.upstream.kfp import OwnClient  # noqa: PLC0415

        connection = self.connection
        connection.check_files()
        file = connection.token_file

        # Failed connections are retried, and GETs that a gateway could not deliver. Redirects are
        # not followed, because they lead to login pages.
        retry = Retry(
            total=RETRIES,
            redirect=0,
            other=0,
            allowed_methods={"GET"},
            status_forcelist={429, 502, 503, 504},
            backoff_factor=BACKOFF_S,
            retry_after_max=int(LONGEST_WAIT_S),
            raise_on_redirect=False,
            raise_on_status=False,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            return OwnClient(
                connection.namespace or "unnamed",
                retry,
                host=connection.host,
                existing_token=connection.read_variable("token_env"),
                cookies=connection.read_variable("cookies_env"),
                ssl_ca_cert=None if connection.ca_file is None else str(connection.ca_file),
                credentials=None
                if file is None
                else set_volume_credentials.ServiceAccountTokenVolumeCredentials(str(file)),
            )

    @property
    def api_client(self) -> Any:
        """kfp-server-api's client below the SDK's: connections, headers, the last response."""
        return self.kfp.api_client

    @contextlib.contextmanager
    def _explained(self, doing: str, missing: Missing | None = None) -> Iterator[None]:
        from kfp_server_api import ApiException  # noqa: PLC0415  takes half a second
        from urllib3.exceptions import HTTPError  # noqa: PLC0415

        try:
            yield
        except (ApiException, HTTPError) as error:
            if missing is not None and getattr(error, "status", None) == 404:
                raise ConfigError(
                    f"{doing}: there is no {missing.what} at {self.connection.host}", missing.hint
                ) from error
            raise explain(error, doing, self.connection) from error
        except OSError as error:
            # Such as a token file that was removed.
            raise ConfigError(f"{doing}: {error}", f"see {DOCS}") from error
        except ValueError as error:
            # The generated client could not parse the response.
            raise bad_response(error, doing, self.connection) from error
