"""The names of nodes, and the numbers that users write."""

import pytest

from tasks.base.node_names import node_name, number_in, number_of


@pytest.mark.parametrize("number", [1, 42, 201, 240])
def test_a_name_leads_back_to_its_number(number: int) -> None:
    assert number_of(node_name(number)) == number == number_in(node_name(number))


def test_a_name_has_three_digits() -> None:
    assert (node_name(1), node_name(240)) == ("vm-001", "vm-240")


@pytest.mark.parametrize(("word", "number"), [("3", 3), ("003", 3), ("vm-003", 3), ("vm-3", 3), ("221", 221)])
def test_what_users_write_for_a_node(word: str, number: int) -> None:
    assert number_of(word) == number


@pytest.mark.parametrize(
    "word", ["", "vm-", "x", "-3", "+3", " 3", "3 ", "²", "1_0", "0x1", "1e1", "9" * 5000]
)
def test_what_is_no_node(word: str) -> None:
    with pytest.raises(ValueError, match="is not the number of a node"):
        number_of(word)


@pytest.mark.parametrize("name", ["vm-1", "vm-0001", "001", "s-001", "vm-001.ram", "vm-abc", "held", ""])
def test_only_the_whole_name_of_a_directory_counts(name: str) -> None:
    assert number_in(name) is None
