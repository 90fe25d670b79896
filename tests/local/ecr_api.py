"""A client of ECR's API that validates each response against botocore's model."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError
from botocore.validate import ParamValidator
from tests.local.wire_client import WireClient

ClientFactory = Callable[[str], WireClient]


def checked(client: Any) -> Any:
    """Make a client fail if a response does not match the service's model."""

    def check(http_response: Any, model: Any, **_: Any) -> None:
        document = json.loads(http_response.content)
        if http_response.status_code == 200:
            if document.get("imageIds") == []:
                del document["imageIds"]  # its shape is that of a request, where empty is invalid
            report = ParamValidator().validate(document, model.output_shape)
            assert not report.has_errors(), report.generate_report()
        else:
            declared = {shape.name for shape in model.error_shapes}
            common = {"AccessDeniedException", "ThrottlingException"}
            assert document["__type"] in declared | common

    client.meta.events.register("after-call.ecr", check)
    return client


def code_of(call: Callable[..., object], **parameters: Any) -> str:
    with pytest.raises(ClientError) as caught:
        call(**parameters)
    return str(caught.value.response["Error"]["Code"])
