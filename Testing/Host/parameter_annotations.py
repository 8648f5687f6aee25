"""What Annotated[...] can add to the type of a parameter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Default:
    """Annotation: the value of a new parameter."""

    value: Any


@dataclass(frozen=True)
class Decimals:
    """Annotation: digits that a bound widget shows."""

    value: int


@dataclass(frozen=True)
class SingleStep:
    """Annotation: step of a bound widget."""

    value: float


@dataclass(frozen=True)
class WithinRange:
    """Annotation: the value lies between two others, which it may reach."""

    minimum: float
    maximum: float

    def validate(self, value: Any) -> None:
        if value is not None and not self.minimum <= value <= self.maximum:
            raise ValueError(f"Value must be within range [{self.minimum}, {self.maximum}], is {value}")


@dataclass(frozen=True)
class Minimum:
    """Annotation: the value is not smaller."""

    minimum: float

    def validate(self, value: Any) -> None:
        if value is not None and value < self.minimum:
            raise ValueError(f"Value must be at least {self.minimum}, is {value}")


@dataclass(frozen=True)
class Maximum:
    """Annotation: the value is not larger."""

    maximum: float

    def validate(self, value: Any) -> None:
        if value is not None and value > self.maximum:
            raise ValueError(f"Value must be at most {self.maximum}, is {value}")


class Choice:
    """Annotation: the value is one of these."""

    def __init__(self, choices: Any) -> None:
        self.choices = list(choices)

    def validate(self, value: Any) -> None:
        if value not in self.choices:
            raise ValueError(f"Value is {value}, but must be in one of the following: {self.choices}")
