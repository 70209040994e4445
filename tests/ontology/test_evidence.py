from __future__ import annotations

import pytest

from vnn.ontology.evidence import codes


def test_sets_and_codes_mix():
    assert codes(["experimental", "IEA"]) == {"EXP", "IDA", "IPI", "IMP", "IGI", "IEP", "IEA"}


@pytest.mark.parametrize(("names", "says"), [(["experimentel"], "Did you mean 'experimental'"), ([], "no evidence")])
def test_unknown_and_empty_choices_say_what_is_known(names, says):
    with pytest.raises(ValueError, match=says):
        codes(names)
