"""The server of the tests, and the calls that go to it, against kfp-server-api itself."""

import re
from pathlib import Path

import kfp_server_api
import pytest
from kubeflow_api import ROUTES
from kubeflow_forms import Refused, fits, parse_spec

GENERATED = "\n".join(
    path.read_text() for path in (Path(kfp_server_api.__file__).parent / "api").glob("*.py")
)


@pytest.mark.parametrize(("method", "path"), ROUTES, ids=" ".join)
def test_every_path_is_one_of_the_api(method, path):
    operation = f"'{path}', '{method}',"
    assert GENERATED.count(operation) == 1
    body = GENERATED[: GENERATED.index(operation)]
    body = body[body.rindex("    def ") :]
    assert set(re.findall(r"query_params\.append\(\('(\w+)'", body)) == ROUTES[method, path]


def test_a_field_that_no_model_has_is_refused():
    fits({"display_name": "a", "runtime_config": {"parameters": {"span": "1"}}}, "V2beta1Run")
    with pytest.raises(Refused, match="unknown field"):
        fits({"display_name": "a", "runtime_config": {"parametres": {}}}, "V2beta1Run")
    with pytest.raises(Refused, match="invalid value for str"):
        fits({"max_concurrency": 1}, "V2beta1RecurringRun")
    with pytest.raises(Refused, match="invalid value for enum"):
        fits({"mode": "ON"}, "V2beta1RecurringRun")


@pytest.mark.parametrize(
    "text",
    [
        "pipelineInfo: {name: a}\nschemaVersion: 2.0.0\n",
        "pipelineInfo: {name: a}\nschemaVersion: 2.1.0\nunknown: 1\n",
        "[]",
        "",
    ],
)
def test_a_file_that_the_backend_cannot_parse_is_refused(text):
    with pytest.raises(Refused):
        parse_spec(text)
