"""Twenty plain sentences with a [MASK], and for each the words that a person would accept there.

Both were written down before any model had answered, and are not changed afterwards. A word is
acceptable when the sentence is grammatical and sensible with it; the lists are generous but closed,
so an answer that nobody thought of counts as wrong. None of the sentences is in the training text.
Read next: `nano.py`.
"""

from collections.abc import Mapping
from typing import Any

TOP = 5
REQUIRED = 11  # of the first answers are acceptable: most of them

PROMPTS: Mapping[str, str] = {
    "She opened the [MASK] and walked into the room.": (
        "door doors curtain curtains gate window windows house light box book letter"
    ),
    "He was very tired, so he went to [MASK].": "bed sleep rest",
    "The children were playing in the [MASK].": (
        "garden street streets park yard house room snow sand field fields water road sun school "
        "wood woods forest river rain city town village game kitchen hall grass mud dark square "
        "sea evening morning afternoon night air band team dirt church theatre library"
    ),
    "I have never [MASK] such a beautiful place.": (
        "seen known found visited had loved imagined entered left wanted enjoyed beheld"
    ),
    "The man sat [MASK] the table and ate his dinner.": (
        "at by on near beside round around before behind under upon against across"
    ),
    "They lived in a small house near the [MASK].": (
        "river sea town village city church road lake forest station street house garden bridge "
        "shore wood woods coast school park mountain mountains ocean beach hill hills farm field "
        "fields castle border water harbour harbor island palace university railway market mill "
        "cemetery capital court canal"
    ),
    "It was so cold that the water turned to [MASK].": "ice snow stone",
    "Please [MASK] me the truth.": "tell give show bring send teach",
    "My brother is older [MASK] I am.": "than",
    "We had to wait for the train because it was [MASK].": (
        "late delayed slow full coming stopped cancelled broken gone empty crowded early closed "
        "snowing raining there"
    ),
    "The sun rises in the [MASK].": (
        "east morning sky mornings air distance summer spring world heavens"
    ),
    "He could [MASK] hear what she was saying.": (
        "not hardly barely scarcely still only just almost always never clearly now even easily "
        "also often plainly nearly"
    ),
    "There [MASK] many people in the street that night.": "were are stood walked came lay lived",
    "The doctor said that she would soon be [MASK].": (
        "well better dead home ill gone back here there free fine happy married healthy good sick "
        "ready up out strong dying safe alive cured asleep away right over recovered "
        "blind alone old awake released pregnant"
    ),
    "Thank you for [MASK] me with my work.": (
        "helping assisting trusting leaving supporting joining providing aiding encouraging"
    ),
    "Yesterday the boy [MASK] a letter to his mother.": (
        "wrote sent read gave brought carried showed posted delivered took handed addressed "
        "dictated mailed"
    ),
    "The soldiers fought for their [MASK].": (
        "country freedom lives king land life homes people liberty nation families independence "
        "wives rights city home honour honor friends general queen cause lord own brothers father "
        "fathers children safety comrades masters master faith god religion money town peace "
        "victory countries leader emperor prince family village kingdom"
    ),
    "I do not know [MASK] he will come back.": "when if whether why how that where",
    "The book was long, [MASK] I enjoyed reading it.": (
        "but and yet so though because still since as although"
    ),
    "In the winter the nights are [MASK] and dark.": (
        "long cold black deep quiet wet still longer silent cool heavy thick gloomy dreary clear "
        "dull damp bitter frosty colder dry calm white windy lonely grey gray foggy"
    ),
}


def judge(filled: Any) -> dict[str, Any]:
    """The answers to one prompt, and which of them are acceptable.

    Args:
        filled: what `mobilebert.fill_mask` says of it.
    """
    accepted = set(PROMPTS[filled.text].split())
    answers = [candidate.token for candidate in filled.masks[0]]
    return {
        "prompt": filled.text,
        "answers": answers,
        "probabilities": [candidate.probability for candidate in filled.masks[0]],
        "acceptable": [answer in accepted for answer in answers],
    }
