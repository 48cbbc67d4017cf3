"""What every configuration model shares."""

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
    """A frozen model that refuses keys it does not know and values of another type."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class OneOf(Strict):
    """Optional fields that say the same in different units: exactly one of them is given."""

    @model_validator(mode="after")
    def _exactly_one(self) -> "OneOf":
        names = list(type(self).model_fields)
        if sum(getattr(self, name) is not None for name in names) != 1:
            raise ValueError(f"give {' or '.join(map(repr, names))}, exactly one of them")
        return self


class Registered:
    """Makes a field take what is in a registry when a value is checked, not when it is imported.

    Use it as ``Annotated[TYPE, Registered(...)]``. Mistakes and JSON schema are those of the type
    that is made of the registry.

    Args:
        registry: entries by name.
        make_type: returns the field's type from the registry's entries.
    """

    def __init__(
        self, registry: Mapping[str, Any], make_type: Callable[[tuple[Any, ...]], Any]
    ) -> None:
        self._registry = registry
        self._adapter = cache(lambda entries: TypeAdapter(make_type(entries)))

    def __get_pydantic_core_schema__(self, _: Any, handler: GetCoreSchemaHandler) -> Any:
        """Return a schema that looks at the registry for each value."""
        check = PlainValidator(lambda value: self._current().validate_python(value))
        return handler.generate_schema(Annotated[Any, check])

    def __get_pydantic_json_schema__(self, _: Any, handler: Any) -> dict[str, Any]:
        """Return the JSON schema of the registry as it is now."""
        return handler(self._current().core_schema)

    def _current(self) -> TypeAdapter:
        return self._adapter(tuple(self._registry.values()))


Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]*"
Name = Annotated[str, Field(pattern=f"^{NAME}$")]
