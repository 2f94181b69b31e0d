"""What `/openapi.json` says of bodies that routes read by themselves."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel

from eureka_audio.server.schema import ChatRequest, InspectionForm, TranscriptionForm

REFERENCE = "#/components/schemas/{model}"
ERROR = {
    "type": "object",
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": "string"},
            },
        }
    },
}
REFUSALS = ("400", "401", "404", "408", "413", "429", "503")


def describe(app: FastAPI) -> dict[str, Any]:
    """The specification, bodies and refusals included; made once."""
    if app.openapi_schema is None:
        spec = get_openapi(title=app.title, version=app.version, routes=app.routes)
        schemas = spec.setdefault("components", {}).setdefault("schemas", {})
        schemas["Error"] = ERROR
        bodies = {
            "/v1/chat/completions": ("application/json", _schema(ChatRequest, schemas)),
            "/v1/audio/transcriptions": (
                "multipart/form-data",
                _with_file(_schema(TranscriptionForm, schemas)),
            ),
            "/v1/inspect": ("multipart/form-data", _with_file(_schema(InspectionForm, schemas))),
        }
        for path, operations in spec["paths"].items():
            for operation in operations.values():
                if path in bodies:
                    media_type, schema = bodies[path]
                    content = {media_type: {"schema": schema}}
                    operation["requestBody"] = {"required": True, "content": content}
                for status in REFUSALS:
                    operation["responses"].setdefault(status, _refusal())
        app.openapi_schema = spec
    return app.openapi_schema


def _schema(model: type[BaseModel], schemas: dict[str, Any]) -> dict[str, Any]:
    schema = model.model_json_schema(ref_template=REFERENCE)
    schemas.update(schema.pop("$defs", {}))
    return schema


def _with_file(schema: dict[str, Any]) -> dict[str, Any]:
    file = {"type": "string", "format": "binary"}
    return {
        **schema,
        "properties": {"file": file, **schema["properties"]},
        "required": ["file", *schema.get("required", ())],
    }


def _refusal() -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    return {"description": "Refused", "content": content}
