"""A name that is not there is answered with those that are."""

from __future__ import annotations

import pytest

from XVRegistrationLib.errors import InputError, check_names, names_there


def test_all_names_are_listed_where_they_are_few() -> None:
    check_names(["rib"], ["rib", "hip"], "It has no bone named")
    with pytest.raises(InputError, match=r"^It has no bone named ulna, tibia; it has rib, hip\.$"):
        check_names(["ulna", "rib", "tibia"], ["rib", "hip"], "It has no bone named")
    assert names_there([]) == "; it has none."


def test_of_many_those_that_are_alike_are_listed() -> None:
    many = (
        [f"rib_left_{n}" for n in range(1, 13)] + [f"vertebrae_{n}" for n in range(25)] + ["Femur_Left", "femur_right"]
    )
    said = names_there(many, ["femur left"])
    assert "; it has Femur_Left" in said
    assert "femur_right" in said
    shown = said.removeprefix("; it has ").split(" and ")[0].split(", ")
    assert said.endswith(f" and {len(many) - len(shown)} others.")
    assert set(shown) <= set(many)
    assert len(shown) <= 8
    # Nothing is like it: the first ones say at least how names look here.
    assert "rib_left_1, rib_left_2" in names_there(many, ["#"])
