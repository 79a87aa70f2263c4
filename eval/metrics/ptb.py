"""Cut captions into the words that CIDEr, ROUGE-L, METEOR and SPICE are defined on: Penn Treebank tokens, in pure Python.

The scorers of COCO captions take their words from the PTBTokenizer of Stanford CoreNLP 3.4.1, in lower case and without most
punctuation marks. This module gives the same words without Java: a longest-match lexer, as the original is. At each place the rule
that reaches furthest wins, what it needs behind the token included, and the earlier rule where two reach equally far.

Not treated as the original does: telephone numbers, names of files, rare forms of web addresses, which captions of sounds do not have,
and letters that Unicode has added since. A caption is cut alone; the original reads all captions as one text, so that what an
abbreviation's full stop belongs to may depend on how the next caption begins.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import regex

VERSION = "ptb3.4.1"
# Dropped after cutting. The original drops the names of brackets in capitals only, which lower case never has: brackets stay, as words.
PUNCTUATION = frozenset({"''", "'", "``", "`", ".", "?", "!", ",", ":", "-", "--", "...", ";"})

_SP = r"[ \t\u00A0\u2000-\u200A\u3000]"
_BLANK = r"[ \t\u00A0\u2000-\u200A\u3000\r\n\u2028\u2029\u000B\u000C\u0085]"
_SPACING_MARKS = r"\u02C2-\u02C5\u02D2-\u02DF\u02E5-\u02FF\u0384\u0385\u03F6\u055A-\u055F\u06FD\u06FE\u070F"
_L = rf"(?:[\p{{L}}[\p{{M}}&&[\u0300-\u0ECD]]\u00AD{_SPACING_MARKS}]|&[aeiouAEIOU](?i:acute|grave|uml);)"
_A = "[A-Za-z0-9]"
_D = r"\p{Nd}"
_LD = rf"(?:{_L}|{_D})"
_APOS = r"(?:['\u0092\u2019]|&apos;)"
_TICK = r"(?:['`\u0091\u0092\u2018\u2019\u201B]|&apos;)"
_WORD = rf"{_L}{_LD}*(?:[.!?]{_L}{_LD}*)*"
_NUM = rf"(?:{_D}*(?:[.:,\u00AD\u066B\u066C]{_D}+)+|{_D}+)"
_PART = rf"(?:[dDoOlL]{_TICK}[\p{{L}}\p{{Nd}}])?[\p{{L}}\p{{Nd}}]+"
_ACRONYM = r"(?:[A-Za-z](?:\.[A-Za-z])+|(?i:canada|sino|korean|eu|japan|non)-[Uu]\.[Ss]|[Uu]\.[Ss]\.-(?:[Uu]\.[Kk]|[Uu]\.[Ss]\.[Ss]\.[Rr]))"
_AUX = rf"{_APOS}(?i:[msd]|re|ve|ll)"
_NOT = rf"[nN]{_TICK}[tT]"
_IN_SENTENCE = r"[,;:\u3001]"


def _one_of(words: str) -> str:
    """Match any of some words, in any case; those that begin with a capital begin with that capital only."""
    free = [word for word in words.split() if word.islower()]
    fixed = [f"{word[0]}(?i:{word[1:]})" for word in words.split() if not word.islower()]
    return "(?:" + "|".join([f"(?i:{'|'.join(free)})"] * bool(free) + fixed).replace(".", r"\.") + ")"


# Words whose full stop belongs to them: found by asking the original, word by word.
_AT_THE_END = _one_of(
    "al ala apr ariz assn aug bancorp bhd bldg blvd bros calif co colo conn corp cos ct dak dec ed.d esq est etc ext feb fla fri ga inc ind"
    " intl jan jr jul jun kan kans ky ltd mar md mich minn mo mon mont neb nev nov oct okla penn ph.d plc ppty pte pty ptys rd rt sep sept"
    " seq sq sr sys tel tenn thu thurs tue tues univ va vt wed wis wisc wyo Ark Az Del Ill La Mass Miss Ore Pa Tex Wash"
)
_BEFORE_A_NAME = _one_of(
    "a.k.a adj adm adv alex asst assoc atty attys ave brig capt cf cie cmdr col comdr cpl dept det dr drs elec ens ft gen gov govs hon insp"
    " invt jos lieut lt maj messrs mfg mlle mme mr mrs ms msgr mt mtg natl pfc ph pres prof profs pvt rep reps rev sen sens sfc sgt spc st"
    " ste supt supts treas v vs wm"
)
_BEFORE_A_NUMBER = _one_of("art ca fig figs no nos op pp prop")
_OPENERS = _one_of(
    "About According Additionally After An A As At But Did During Earlier He Her Here How However If In It Last Many More Mr. Ms. Now Once"
    " One Other Our She Since So Some Such That The Their Then There These They This We When While What Who Why Yet You"
)


@dataclass(frozen=True, slots=True)
class _Rule:
    """One kind of token: group 1 of the pattern is the token, what stands behind it must follow.

    Attributes:
        write: how the token is written; None as it stands.
        back: characters at the token's end that begin the next one ("cannot" is "can" and "not").
        twice: whether the last character is a token once more: the full stop of "etc." that ends a sentence.
    """

    pattern: regex.Pattern[str]
    write: Callable[[str], str] | None = None
    back: int = 0
    twice: bool = False


def _rule(token: str, behind: str = "", write: Callable[[str], str] | None = None, *, back: int = 0, twice: bool = False) -> _Rule:
    return _Rule(regex.compile(f"({token}){behind}", regex.POSIX | regex.V1), write, back, twice)


def _quote(single: str, double: str) -> Callable[[str], str]:
    """Write quotation marks as backquotes and apostrophes: straight ones as said, bent ones by the way they bend."""
    table = (
        ("&apos;|\'", single), ("\"|&quot;", double), ("[\u0091\u2018\u201B\u2039]", "`"), ("[\u0092\u2019\u203A]", "\'"),
        ("[\u0093\u201C\u00AB]", "``"), ("[\u0094\u201D\u00BB]", "\'\'"),
    )  # fmt: skip

    def write(token: str) -> str:
        if token in ("''", "`'", "'`"):
            return double
        for pattern, mark in table:
            token = regex.sub(pattern, mark, token)
        return token

    return write


_opening, _closing = _quote("`", "``"), _quote("'", "''")


def _brackets(token: str) -> str:
    for mark, name in zip("()[]{}", ("-lrb-", "-rrb-", "-lsb-", "-rsb-", "-lcb-", "-rcb-"), strict=True):
        token = token.replace(mark, name)
    return token


def _unbroken(token: str) -> str:
    return token.replace(" ", "\u00a0")


def _without_soft_hyphens(token: str) -> str:
    return "-" if token == "\u00ad" else token.replace("\u00ad", "")


def _as(text: str) -> Callable[[str], str]:
    return lambda token: text


_FRACTIONS = {"\u00bc": "1/4", "\u00bd": "1/2", "\u00be": "3/4", "\u2153": "1/3", "\u2154": "2/3"}
_CURRENCIES = {"\u00a2": "cents", "\u00a3": "#", "\u0080": "$", "\u00a4": "$", "\u20a0": "$", "\u20ac": "$"}
_SYMBOL = (
    r"[+%&~^|\\\u0387\u05BE\u05C0\u05C3\u05C6\u05F3\u05F4\u0614\u066D\u06D4\u1FBD\u2016\u2017\u2020-\u2023\u2030-\u2038\u203B\u203E-\u2042\u2044"
    r"\u207A-\u207F\u208A-\u208E\u3012\u30FB"
    r"[[\p{S}\p{P}\p{No}]&&[\u00A6-\u00BA\u00D7\u00F7\u0600-\u060C\u061B-\u066A\u0703-\u070D\u07F6-\u07F8\u0964\u0965\u0E4F\uFF01-\uFF65]]"
    r"[[\p{S}\p{P}\p{No}]&&[\u2100-\u2BFF]]]"
)
_TAG_NAME = r"[A-Za-z][A-Za-z0-9_:.-]*"
_TAG = (
    rf"<(?:[!?][A-Za-z-][^>\r\n]*|{_TAG_NAME}(?: +(?:{_TAG_NAME}|{_TAG_NAME} *= *(?:'[^']*'|\"[^\"]*\"|{_TAG_NAME})))* */?|/{_TAG_NAME}) *>"
)
_URL = r"(?i:https?|ftp)://[\w./?=&%~#+-]*[\w/=#%+]"
# Words with an apostrophe that stay whole.
_WITH_APOSTROPHE = (
    rf"{_APOS}[nN]{_APOS}?|[lLdDjJ]{_APOS}|(?i:dunkin|somethin|ol){_APOS}|{_APOS}(?i:em|till?|cause|[2-9]0s)"
    rf"|[A-HJ-XZn]{_TICK}\p{{L}}{{2,}}|\p{{L}}+[aeiouyAEIOUY]{_TICK}[aeiouA-Z]\p{{L}}*"
    r"|(?i:cont'd\.?|nor'easter|c'mon|e'er|s'mores|ev'ry|li'l|nat'l)"
)
_HYPHENED = rf"{_A}[A-Za-z0-9.,\u00AD]*(?:-(?:[A-Za-z0-9\u00AD]+|{_ACRONYM}\.))+"

_RULES = (
    _rule("(?i:cannot)", back=3),
    _rule(rf"(?i:gonna|gotta|lemme|gimme|wanna)|{_APOS}(?i:tis)", back=2),
    _rule(f"{_APOS}(?i:twas)", back=3),
    _rule(_TAG, write=_unbroken),
    _rule(r"&(?i:md|mdash|ndash);|[\u0096\u0097\u2013-\u2015]", write=_as("--")),
    _rule("&(?i:amp);", write=_as("&")),
    _rule(r"&(?i:ht|tl|ur|lr|qc|ql|qr|odq|cdq|#[0-9]+);"),
    _rule(_WORD, _AUX, _without_soft_hyphens),
    _rule(r"[A-Za-z\u00AD]*[A-MO-Za-mo-z]\u00AD*", _NOT, _without_soft_hyphens),
    _rule(_WORD, "", _without_soft_hyphens),
    _rule(_WITH_APOSTROPHE),
    _rule(f"[yY]{_APOS}", r"\p{L}"),
    _rule(_URL), _rule(r"[A-Za-z0-9][^\s\"<>|()]*@[^\s\"<>|()]*[^\s\"<>|().]"),
    _rule(r"@[a-zA-Z_][a-zA-Z_0-9]*"),
    _rule(rf"#{_L}+"),
    _rule(r"[cC]\+\+|[cCfF]#"),
    _rule(_AUX, "[^A-Za-z]", _closing),
    _rule(_NOT, "[^A-Za-z]", _closing),
    _rule(rf"{_D}{{1,2}}[-/]{_D}{{1,2}}[-/]{_D}{{2,4}}"),
    _rule(f"[-+]?{_NUM}", "", _without_soft_hyphens),
    _rule(r"[\u207A\u207B\u208A\u208B]?(?:[\u2070\u00B9\u00B2\u00B3\u2074-\u2079]+|[\u2080-\u2089]+)"),
    _rule(rf"(?:{_D}{{1,4}}[- \u00A0])?{_D}{{1,4}}(?:\\?/|\u2044){_D}{{1,4}}", "", _unbroken),
    _rule("[\u00BC-\u00BE\u2153-\u215E]", "", lambda token: _FRACTIONS.get(token, token)),
    _rule(rf"-(?:RRB|LRB|RCB|LCB|RSB|LSB)-|C\.D\.s|(?i:pro|anti)-|S&P-500|S&Ls|[Cc]ap{_APOS}n|[Cc]{_APOS}est"),
    _rule(f"{_A}+(?:-[A-Za-z]+){{0,2}}(?:\\\\?/{_A}+(?:-[A-Za-z]+){{0,2}}){{1,2}}"),
    _rule(r"[A-Z]*\$|#"),
    _rule(
        "[\u00A2-\u00A5\u0080\u20A0\u20AA\u20AC\u060B\u0E3F\u20A4\uFFE0\uFFE1\uFFE5\uFFE6]", "", lambda token: _CURRENCIES.get(token, token)
    ),
    _rule("[A-Za-z]", rf"\.{_BLANK}+(?:{_OPENERS}|{_TAG}){_BLANK}"),  # a letter that ends a sentence
    _rule(rf"{_BEFORE_A_NUMBER}\.", rf"{_BLANK}?{_D}"),
    _rule(rf"{_ACRONYM}\.", rf"{_BLANK}+(?:{_OPENERS}|{_TAG}){_BLANK}", twice=True),
    _rule(rf"{_AT_THE_END}\.", rf"{_BLANK}(?:{_BLANK}|[A-Z]|{_TAG})", twice=True),
    _rule(rf"{_AT_THE_END}\.", r"(?s:..)"),
    _rule(rf"{_AT_THE_END}\."),
    _rule(rf"(?:{_BEFORE_A_NAME}|[A-Za-z]|{_ACRONYM})\."),
    _rule(_ACRONYM, _BLANK),
    _rule(f"{_APOS}[0-9][0-9]", _BLANK),
    _rule(rf"{_WORD}\.", _IN_SENTENCE, _without_soft_hyphens),
    _rule('"|&quot;', "[A-Za-z0-9$]", _opening), _rule("\"|&quot;|\'\'", "", _closing),
    _rule("<<|>>"), _rule("<|&lt;", "", _as("<")), _rule(">|&gt;", "", _as(">")),
    _rule(r"[<>]?[:;=][-o*']?[()DPdpO\\{@|\[\]]", "[^A-Za-z0-9]", lambda token: token.replace("(", "-lrb-").replace(")", "-rrb-")),
    _rule(r"[\^x=~<>]\.\[\^x=~<>]|[-^x=~<>']_[-^x=~<>']|\([-^x=~<>'][_.]?[-^x=~<>']\)|\([\^x=~<>']-[\^x=~<>'`]\)", "",
          lambda token: token.replace("(", "-lrb-").replace(")", "-rrb-")),
    _rule(r"[()\[\]{}]", "", _brackets),
    _rule("-+", "", lambda token: "--" if len(token) in (3, 4) else token),
    _rule(r"\.[ \u00A0](?:\.[ \u00A0])+\.", "", _as("...")),
    _rule(r"\.{3,5}|[\u0085\u2026]", "", _as("...")),
    _rule("@+|#+|_+"), _rule(r"\*+|(?:\\\*){1,3}"), _rule(_IN_SENTENCE), _rule("[?!]+"),
    _rule(r"[.\u00A1\u00BF\u037E\u0589\u061F\u06D4\u0700-\u0702\u07FA\u3002]"), _rule("="), _rule("/"),
    _rule(rf"{_PART}(?:[-_\u058A\u2010\u2011]{_PART})*"),
    _rule(rf"{_PART}(?:[-_\u058A\u2010\u2011]{_PART})*\.", _IN_SENTENCE),
    _rule(_HYPHENED, "", _without_soft_hyphens),
    _rule(_HYPHENED + r"\.", _IN_SENTENCE, _without_soft_hyphens),
    _rule(r"[A-Z]+(?:[+&][A-Z]+)+"),
    _rule("'|&apos;", f"[A-Za-z][^{_BLANK[1:]}", _opening), _rule(_AUX, "", _closing), _rule(_APOS, "", _closing),
    _rule(r"[`\u2018-\u201F\u0091-\u0094\u2039\u203A\u00AB\u00BB]{1,2}", "", _closing),
    _rule(_SYMBOL),
)  # fmt: skip
_NO_TEXT = regex.compile("[\U00010000-\U0010ffff\\n\\r\\u000B\\u000C\\u0085\\u2028\\u2029]")
_PLAIN = regex.compile(r" *([A-Za-z]+)(?=,?[ \n])")
_SPLIT = frozenset({"cannot", "gonna", "gotta", "lemme", "gimme", "wanna"})


@lru_cache(maxsize=4096)
def _rules_for(first: str) -> tuple[_Rule, ...]:
    """Return the rules whose tokens can begin with a character."""
    return tuple(rule for rule in _RULES if rule.pattern.match(first, partial=True))


def tokens(caption: str) -> list[str]:
    """Cut a caption into Penn Treebank tokens in lower case, punctuation marks among them."""
    text = _NO_TEXT.sub(" ", caption) + "\na"  # as if another caption followed; what lies beyond 16 bits the original deletes
    found: list[str] = []
    place = 0
    while place < len(text) - 2:
        plain = _PLAIN.match(text, place)
        if plain and plain[1].lower() not in _SPLIT:
            found.append(plain[1])
            place = plain.end()
            continue
        place = _next(text, place, found)
    return [token.lower() for token in found]


def _next(text: str, place: int, found: list[str]) -> int:
    """Add the token that begins at a place, if any does, and return where the next one begins."""
    best: tuple[_Rule, regex.Match[str]] | None = None
    for rule in _rules_for(text[place]):
        match = rule.pattern.match(text, place)
        if match and (best is None or match.end() > best[1].end()):
            best = rule, match
    if best is None:
        return place + 1  # white space, or a character that the original deletes
    rule, match = best
    end = match.end(1) - rule.back
    token = text[place:end]
    found.append(rule.write(token) if rule.write else token)
    return end - rule.twice


@lru_cache(maxsize=65536)
def words(caption: str) -> tuple[str, ...]:
    """Cut a caption into the words that caption metrics count: tokens without punctuation."""
    return tuple(token for token in tokens(caption) if token not in PUNCTUATION)
