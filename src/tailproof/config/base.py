"""Base classes and field types of the configuration models."""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    PlainValidator,
    TypeAdapter,
    model_validator,
)


class Strict(BaseModel):
    """A frozen model that rejects unknown keys and values of the wrong type."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class OneOf(Strict):
    """Alternative fields for the same quantity in different units; exactly one must be set."""

    @model_validator(mode="after")
    def _exactly_one(self) -> "OneOf":
        names = list(type(self).model_fields)
        given = [name for name in names if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(
                f"expected exactly one of {', '.join(map(repr, names))}, "
                f"found {', '.join(map(repr, given)) or 'none'}: {'keep' if given else 'set'} one"
            )
        return self


class Registered:
    """Validates a field against a registry as it is at validation time, not at import time.

    Use it as ``Annotated[TYPE, Registered(...)]``. Errors and JSON schema are those of the type
    that `make_type` builds.

    Args:
        registry: the registry's entries by name.
        make_type: builds the field's type from the entries.
    """

    def __init__(
        self, registry: Mapping[str, Any], make_type: Callable[[tuple[Any, ...]], Any]
    ) -> None:
        self._registry = registry
        self._adapter = cache(lambda entries: TypeAdapter(make_type(entries)))

    def __get_pydantic_core_schema__(self, _: Any, handler: GetCoreSchemaHandler) -> Any:
        """Return a schema that looks up the registry each time a value is validated."""
        check = PlainValidator(lambda value: self._current().validate_python(value))
        return handler.generate_schema(Annotated[Any, check])

    def __get_pydantic_json_schema__(self, _: Any, handler: Any) -> dict[str, Any]:
        """Return the JSON schema for the current entries of the registry."""
        return handler(self._current().core_schema)

    def _current(self) -> TypeAdapter:
        return self._adapter(tuple(self._registry.values()))


Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]*"
Name = Annotated[str, Field(pattern=f"^{NAME}$")]
