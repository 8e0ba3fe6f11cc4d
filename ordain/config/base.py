"""What every section of the configuration is made of."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    field_validator,
)

from ordain.common.env_references import has_reference, is_reference

Policy = Literal["pass", "warn", "block"]
#: A reason that is recorded: words, not blanks.
Reason = Annotated[str, StringConstraints(strip_whitespace=True, min_length=3)]
ScalarValue = str | int | float | bool
#: Validation context under which `${env:NAME}` is not looked up (`loading.load_unresolved`).
KEEP_REFERENCES = "keep_references"


class Section(BaseModel):
    """A frozen part of the configuration that refuses keys it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)
    #: Whether a text of this section may hold `${env:NAME}` whatever its key wants to be.
    has_references: ClassVar[bool] = True

    @field_validator("*", mode="wrap")
    @classmethod
    def _keep_reference(
        cls, value: object, handler: ValidatorFunctionWrapHandler, info: ValidationInfo
    ) -> Any:
        # `steps: ${env:STEPS}` is a number once it is looked up, and a text until then.
        try:
            found = handler(value)
            if isinstance(value, bool) and not isinstance(found, bool):
                # pydantic takes true for 1: `min: yes` is a limit that nobody meant.
                raise ValueError(f"is {str(value).lower()}, where a number belongs")
            return found
        except ValidationError as error:
            is_kept = cls.has_references and (info.context or {}).get(KEEP_REFERENCES)
            if is_kept and has_reference(value):
                # A rule of our own, such as "holds no password", is about what stands beside a
                # reference: it holds unless nothing does.
                own = any(detail["type"] == "value_error" for detail in error.errors())
                if not own or is_reference(value):
                    return value
            raise
