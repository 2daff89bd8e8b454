"""The OpenAPI 3.1 document, made from the declarations of the operations."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

from ...exceptions import RateLimitedError
from .._answers import status_for
from .fields import Field
from .operation import Access, Operation
from .records import Failure, as_markdown, schema_of

__all__ = ["document"]

_JSON = "application/json"
_INTRODUCTION = """\
Accounts, sessions and organizations.

Programs send `Authorization: Bearer …` with an access token. A script of the application's own
pages may ask for a cookie instead (`"cookie": true`); its requests must come from this site.
Every refusal has the same shape, with a `code` for programs."""


def document(
    operations: Iterable[Operation], title: str, base: str, *, cookie: str
) -> dict[str, Any]:
    """Return the document.

    Args:
        title: What the application is called.
        base: The path that the paths of the operations are below.
        cookie: The name of the session's cookie.
    """
    components: dict[str, Any] = {}
    paths: defaultdict[str, dict[str, Any]] = defaultdict(dict)
    for operation in operations:
        paths[operation.path][operation.method.lower()] = _operation(operation, components)
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": "1", "description": _INTRODUCTION},
        "servers": [{"url": base}],
        "paths": dict(paths),
        "components": {
            "schemas": dict(sorted(components.items())),
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
                "cookie": {"type": "apiKey", "in": "cookie", "name": cookie},
            },
        },
    }


def _operation(operation: Operation, components: dict[str, Any]) -> dict[str, Any]:
    summary, _, description = as_markdown(operation.run.__doc__).partition("\n")
    described: dict[str, Any] = {
        "operationId": operation.name,
        "tags": [operation.tag],
        "summary": summary.rstrip("."),
        "responses": _responses(operation, components),
    }
    if description.strip():
        described["description"] = description.strip()
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in operation.in_path
    ]
    parameters += [_query(name, field) for name, field in operation.query.items()]
    if parameters:
        described["parameters"] = parameters
    if operation.body:
        described["requestBody"] = _body(operation.body)
    if operation.access is not Access.ANYBODY:
        described["security"] = [{"bearer": []}, {"cookie": []}]
    return described


def _query(name: str, field: Field) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": field.required, "schema": field.schema()}


def _body(fields: Mapping[str, Field]) -> dict[str, Any]:
    required = [name for name, field in fields.items() if field.required]
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {name: field.schema() for name, field in fields.items()},
        "additionalProperties": False,
    }
    if required:
        schema["required"] = required
    return {"required": bool(required), "content": {_JSON: {"schema": schema}}}


def _responses(operation: Operation, components: dict[str, Any]) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    for status, kind in operation.answers.items():
        responses[str(status)] = {"description": HTTPStatus(status).phrase}
        if kind is not None:
            schema = schema_of(kind, components)
            responses[str(status)]["content"] = {_JSON: {"schema": schema}}
    by_status: defaultdict[int, list[str]] = defaultdict(list)
    for error in operation.refusals:
        by_status[status_for(error)].append(error.code)
    failure = schema_of(Failure, components)
    for status, codes in sorted(by_status.items()):
        responses[str(status)] = {
            "description": ", ".join(f"`{code}`" for code in codes),
            "content": {_JSON: {"schema": failure}},
        }
        if RateLimitedError.code in codes:
            responses[str(status)]["headers"] = {
                "Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}
            }
    return responses
