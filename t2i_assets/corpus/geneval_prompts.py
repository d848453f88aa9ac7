"""A prompt of GenEval (Ghosh et al. 2023): what must be in the picture, how often, where, and what must not."""

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator


class Included(BaseModel):
    """A clause of what must be there; ``position`` relates it to another clause, by that one's number."""

    model_config = ConfigDict(extra="forbid", strict=True)

    shape: str = Field(alias="class", min_length=1)
    count: int = Field(default=1, ge=1)
    color: str | None = None
    position: tuple[Literal["left of", "right of", "above", "below"], int] | None = None


class Excluded(BaseModel):
    """A clause of what must not be there so often."""

    model_config = ConfigDict(extra="forbid", strict=True)

    shape: str = Field(alias="class", min_length=1)
    count: int = Field(ge=1)


class DeclaredPrompt(BaseModel):
    """One line of GenEval's file; fields that are not GenEval's are passed over."""

    tag: Literal["single_object", "two_object", "counting", "colors", "position", "color_attr"]
    prompt: str = Field(min_length=1)
    include: list[Included] = Field(min_length=1)
    exclude: list[Excluded] = []

    @model_validator(mode="after")
    def _positions_name_another_clause(self) -> Self:
        placed = [(number, clause.position) for number, clause in enumerate(self.include) if clause.position]
        if len(placed) > 1:
            raise ValueError("only one clause can have a position")
        for number, (_, other) in placed:
            if other == number or not 0 <= other < len(self.include):
                raise ValueError(f"include.{number}.position names clause {other}, which is no other clause")
        return self

    def facts(self) -> dict[str, Any]:
        """Return the clauses as facts: objects in their order, the one relation, and what is excluded."""
        relation = None
        for number, clause in enumerate(self.include):
            if clause.position is not None:
                kind, other = clause.position
                relation = {"kind": kind, "subject": number, "object": other}
        return {
            "objects": [{"shape": one.shape, "color": one.color, "count": one.count} for one in self.include],
            "relation": relation,
            "excluded": [{"shape": one.shape, "count": one.count} for one in self.exclude],
        }


def declared_prompt(line: str) -> DeclaredPrompt:
    """Return what a line of JSON declares. Raises ValueError naming the field that is wrong."""
    try:
        return DeclaredPrompt.model_validate_json(line)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise ValueError(f"{place}: {first['msg']}" if place else first["msg"]) from error
