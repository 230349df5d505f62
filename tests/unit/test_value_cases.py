from __future__ import annotations

import pytest

from contactsvc.domain import validation
from contactsvc.domain.normalization import InvalidValue, ValueRules, trim
from contactsvc.errors import InvalidFields
from tests.cases import ValueCase, value_cases

CASES = value_cases()


def name_of(case: ValueCase) -> str:
    return f"{case.region or 'anywhere'}-{case.type}-{ascii(case.text[:40])[1:-1]}"


@pytest.mark.parametrize("case", [case for case in CASES if case.normalized is not None], ids=name_of)
def test_a_value_has_the_normal_form_of_its_table(case: ValueCase) -> None:
    problems = validation.Violations()

    text = validation.value(problems, "value", case.text)

    assert not problems.has("value")
    assert ValueRules(case.region).read(case.type, text).normalized == case.normalized, case.why


@pytest.mark.parametrize("case", [case for case in CASES if case.normalized is None], ids=name_of)
def test_the_message_of_a_refusal_states_the_rule_and_not_the_value(case: ValueCase) -> None:
    problems = validation.Violations()

    with pytest.raises((InvalidFields, InvalidValue)) as refused:
        read_strictly(case, problems)

    assert case.message in str(refused.value), case.why
    assert len(case.text) < 3 or case.text not in str(refused.value)


def read_strictly(case: ValueCase, problems: validation.Violations) -> None:
    text = validation.value(problems, "value", case.text)
    problems.raise_if_any()
    ValueRules(case.region).read(case.type, text)


@pytest.mark.parametrize("case", [case for case in CASES if case.normalized is None and trim(case.text)], ids=name_of)
def test_lenient_rules_keep_what_strict_rules_refuse(case: ValueCase) -> None:
    problems = validation.Violations()
    text = validation.value(problems, "value", case.text)

    read = ValueRules(case.region, lenient=True).read(case.type, text)

    assert (read.text, read.normalized) == (text, None)
