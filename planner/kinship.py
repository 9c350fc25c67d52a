"""Words of kinship: whose relative somebody is tells what they are ("her brother Flint"), and whether "she" or "he"."""

from collections.abc import Mapping

KIN: Mapping[str, str | None] = {
    **dict.fromkeys("sister mother mum mom mama mamma mummy mommy granny nana daughter aunt niece".split(), "she"),
    **dict.fromkeys("grandmother grandma granddaughter".split(), "she"),
    **dict.fromkeys("brother father dad daddy papa son uncle nephew grandfather grandpa grandson".split(), "he"),
    **dict.fromkeys("cousin twin".split(), None),
}
# Several of them together.
KINSFOLK = ("brothers", "sisters", "siblings", "twins", "cousins")


def kind_by_kinship(name: str, kinds: Mapping[str, str | None], relatives: Mapping[str, str]) -> str | None:
    """The kind of whoever `name` is related to, or of their relatives; None if nobody's is known."""
    seen = {name}
    while name in relatives and relatives[name] not in seen:
        name = relatives[name]
        seen.add(name)
        if kinds.get(name) is not None:
            return kinds[name]
    return None
