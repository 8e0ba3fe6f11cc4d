"""kfp 2.16: a client with a retry policy of its own and without settings of other programs.

Importing this module imports kfp, which takes seconds.
"""

from __future__ import annotations

from typing import Any

from kfp.client import Client
from urllib3 import Retry


class OwnClient(Client):
    """The SDK's client without `~/.config/kfp/context.json`, where other programs store theirs.

    With a namespace set, the constructor does not request one from the server, with up to five
    retries.
    """

    def __init__(self, namespace: str, retry: Retry, **arguments: Any) -> None:
        """Connects.

        Args:
            namespace: Namespace that stands in place of the stored one.
            retry: Retry policy of the connection pool, for which kfp's client has no argument.
            arguments: Those of `kfp.Client`.
        """
        self._namespace = namespace
        super().__init__(**arguments)
        self.api_client.rest_client.pool_manager.connection_pool_kw["retries"] = retry

    @property
    def api_client(self) -> Any:
        """kfp-server-api's client below the SDK's: connections, headers, the last response."""
        return self._run_api.api_client

    def _load_context_setting_or_default(self) -> None:
        self._context_setting = {"namespace": self._namespace}
