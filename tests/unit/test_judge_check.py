"""The check of the judges tells which of them sees too little, or gives marks to the wrong picture."""

import pytest

from t2i_assets.checks.judges import doubts


def rows(judge: str, condition: str = "sharp", **values: float) -> list[dict]:
    return [
        {"judge": judge, "condition": condition, "measure": measure.replace("_", "/"), "value": value}
        for measure, value in values.items()
    ]


TRUTH = rows("oracle", ceiling_numeracy=1.0, floor_numeracy=0.2)


def test_judges_that_see_what_is_there_pass() -> None:
    good = rows("trained", ceiling_numeracy=0.97, floor_numeracy=0.24, whole=0.5)
    blurred = rows("trained", "blur 1.0", ceiling_numeracy=0.1)
    assert doubts([*TRUTH, *good, *blurred]) == []


@pytest.mark.parametrize(
    ("measure", "value", "bound"), [("ceiling/numeracy", 0.94, 0.95), ("floor/numeracy", 0.26, 0.25)]
)
def test_a_judge_beyond_a_bound_is_named(measure: str, value: float, bound: float) -> None:
    [found] = doubts([*TRUTH, *rows("pixels", **{measure.replace("/", "_"): value})])
    assert found == {"judge": "pixels", "measure": measure, "value": value, "bound": pytest.approx(bound)}
