"""What says yes and what says no, by language: labels and texts on their way into a Marketo boolean. Pure.

A word that is not here is neither: an opt-out must not become an opt-in by a guess.
"""

from __future__ import annotations

import unicodedata

#: Languages by the lower ten bits of their LCID, which all their countries share.
_ENGLISH = 0x09
_PRIMARY = 0x3FF
#: Understood whatever the language is.
_EVERYWHERE = ("true 1", "false 0")
_WORDS: dict[int, tuple[str, str]] = {
    _ENGLISH: ("yes y on", "no n off"),
    0x01: ("نعم", "لا"),  # Arabic
    0x02: ("да", "не"),  # Bulgarian
    0x03: ("sí si", "no"),  # Catalan
    0x04: ("是", "否"),  # Chinese
    0x05: ("ano", "ne"),  # Czech
    0x06: ("ja", "nej"),  # Danish
    0x07: ("ja wahr ein an", "nein falsch aus"),  # German
    0x08: ("ναι", "όχι"),  # noqa: RUF001  (Greek)
    0x0A: ("sí si verdadero", "no falso"),  # Spanish
    0x0B: ("kyllä", "ei"),  # Finnish
    0x0C: ("oui vrai", "non faux"),  # French
    0x0D: ("כן", "לא"),  # Hebrew
    0x0E: ("igen", "nem"),  # Hungarian
    0x10: ("sì si vero", "no falso"),  # Italian
    0x11: ("はい", "いいえ"),  # Japanese
    0x12: ("예", "아니요 아니오"),  # Korean
    0x13: ("ja waar", "nee onwaar"),  # Dutch
    0x14: ("ja", "nei"),  # Norwegian
    0x15: ("tak prawda", "nie fałsz"),  # Polish
    0x16: ("sim verdadeiro", "não falso"),  # Portuguese
    0x18: ("da", "nu"),  # Romanian
    0x19: ("да", "нет"),  # Russian
    0x1A: ("da", "ne"),  # Croatian, Serbian
    0x1B: ("áno", "nie"),  # Slovak
    0x1D: ("ja sant", "nej falskt"),  # Swedish
    0x1E: ("ใช่", "ไม่ใช่ ไม่"),  # Thai
    0x1F: ("evet", "hayır"),  # noqa: RUF001  (Turkish)
    0x22: ("так", "ні"),  # Ukrainian
    0x24: ("da", "ne"),  # Slovenian
    0x25: ("jah", "ei"),  # Estonian
    0x26: ("jā", "nē"),  # Latvian
    0x27: ("taip", "ne"),  # Lithuanian
    0x2A: ("có", "không"),  # Vietnamese
}
#: Dynamics' own labels of what may be done to somebody ("Allow", "Do Not Allow"). They answer the question "may we?".
_PERMISSIONS: dict[int, tuple[tuple[str, ...], tuple[str, ...]]] = {
    _ENGLISH: (("allow", "send"), ("do not allow", "do not send", "don't allow", "don't send")),
    0x07: (("zulassen", "senden"), ("nicht zulassen", "nicht senden")),
    0x0A: (("permitir", "enviar"), ("no permitir", "no enviar")),
    0x0C: (("autoriser", "envoyer"), ("ne pas autoriser", "ne pas envoyer")),
    0x10: (("consenti", "invia"), ("non consentire", "non inviare")),
    0x13: (("toestaan", "verzenden"), ("niet toestaan", "niet verzenden")),
}


def answer(text: str, language: int, *, of_permission: bool) -> bool | None:
    """True or false for a word that says so in this language (an LCID), in English or as a digit; None for any other.

    `of_permission`: the field asks "may we?", so "Do Not Send" is false. A field that asks "may we not?", such as
    doNotCall, gets no answer from such a label: the label's own column has it, as yes or no.
    """
    word = " ".join(
        unicodedata.normalize("NFKC", text).casefold().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'").split()
    )
    primary = language & _PRIMARY
    for yes, no in (_EVERYWHERE, _WORDS.get(primary, ("", "")), _WORDS[_ENGLISH]):
        if word in yes.casefold().split():
            return True
        if word in no.casefold().split():
            return False
    for allowed, forbidden in (_PERMISSIONS.get(primary, ((), ())), _PERMISSIONS[_ENGLISH]):
        if of_permission and word in (*allowed, *forbidden):
            return word in allowed
    return None
