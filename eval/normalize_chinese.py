"""Chinese texts made comparable: numbers as they are read aloud, one form of every character, no punctuation.

Two rules: `chinese` is ours; `lmms_chinese` answers as lmms-eval's Chinese scoring does, oddities included, so that its figures can be
compared with ours.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

from eval.metrics.sample import NotComputed

DIGITS = "零一二三四五六七八九"
# Names of powers of ten, the largest first: every fourth, then those below ten thousand.
_UNITS = (*((4 * (11 - place), name) for place, name in enumerate("载正涧沟穰秭垓京兆亿万")), (3, "千"), (2, "百"), (1, "十"))


def read_digits(number: str) -> str:
    """Read a number digit by digit, as years and telephone numbers are: 2023 -> 二零二三; what is no digit is left out."""
    return "".join(DIGITS[int(digit)] for digit in number if digit.isdecimal())


def read_number(number: str) -> str:
    """Read a number as an amount: 1200.5 -> 一千两百点五; 05 -> 零五, and nothing but zeros -> "" unless it is one."""
    whole, point, decimals = number.partition(".")
    said = _amount(whole) if len(whole) > 1 else read_digits(whole)
    said = re.sub(f"(?<![{DIGITS}十])二(?=[^{DIGITS}十])", "两", said)
    if point:
        said = f"{said or '零'}点{read_digits(decimals)}"
    return said.removeprefix("一") if said.startswith("一十") else said


def _amount(digits: str) -> str:
    shown = digits.lstrip("0")
    if len(shown) < 2:
        return ("零" if shown and shown != digits else "") + read_digits(shown)
    power, name = next(unit for unit in _UNITS if unit[0] < len(shown))
    return _amount(digits[:-power]) + name + _amount(shown[-power:])


# Ours

_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_PERCENT = re.compile(r"(\d+(?:\.\d+)?)%")
_FRACTION = re.compile(r"(?<![\d/⁄])(\d+)[/⁄](\d+)(?![\d/⁄])")
_MINUS = re.compile(r"(?<![\da-z])-(?=\d)")
_CLOCK = re.compile(r"(?<![\d:])(\d{1,2}):(\d\d)(?![\d:])")
_YEAR = re.compile(r"(?<![\d.])(?:1[1-9]|20)\d\d(?=年)")
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_NEITHER = re.compile(r"[\W_]+")
_SERIES_FROM = 7  # numbers as long as this, or with a zero in front, are read digit by digit


def chinese(text: str) -> str:
    """Normalise Chinese text (version 1).

    Full-width forms become plain ones, letters lower case, numerals what is said for them (amounts, years, percent, fractions, hours,
    series of digits), 两 before a unit 二, 〇 零; punctuation, symbols and spaces go. Characters stay simplified or traditional.
    """
    text = unicodedata.normalize("NFKC", text).lower()
    if any(character.isdecimal() for character in text):
        text = _with_numbers_read(text)
    return _NEITHER.sub("", re.sub("两(?=[百千万亿])", "二", text.replace("〇", "零")))


def _with_numbers_read(text: str) -> str:
    text = _THOUSANDS.sub("", text)
    text = _PERCENT.sub(r"百分之\1", text)
    text = _FRACTION.sub(r"\2分之\1", text)
    text = _MINUS.sub("负", text)
    text = _CLOCK.sub(r"\1点\2", text)
    text = _YEAR.sub(lambda found: read_digits(found[0]), text)
    return _NUMBER.sub(lambda found: _read(found[0]), text)


def _read(number: str) -> str:
    whole = number.partition(".")[0]
    if len(whole) >= _SERIES_FROM or (len(whole) > 1 and whole.startswith("0")):
        return "点".join(read_digits(part) for part in number.split("."))
    return read_number(number)


def simplified(text: str, script: str = "zh-hans") -> str:
    """Turn traditional characters into simplified ones; "zh-cn" changes words as well.

    Raises:
        NotComputed: zhconv is not installed.
    """
    try:
        import zhconv
    except ImportError as error:
        raise NotComputed("traditional characters are made simplified by zhconv: pip install zhconv") from error
    return str(zhconv.convert(text, script))


# lmms-eval's. A number is looked for by one pattern after the other, and the first place where its characters stand is rewritten,
# wherever the pattern found them.

_MONEY_UNIT = "(?:[千百]?万|[亿千百元块角毛分])"
_COUNTED = (
    "丈世丘丝两个丸代令件伏位冬出刀分刻勺匹升单卮厘双叠口只合名周啖回场块坡堂堆墙壳壶夏夜天头季客家寸对寻尺尾层山岁岭常幢年座张忽户手扎打担挑"
    "捆撮支斗斛斤日旬时春曲更月本条杯板枝根桶棵毫江泡溪炮煲片瓶盆盏盒盘石砣碗碟秋秒程窠笼管箩箱篮簋粒纪线罐网罗群脚腔袋袭课贯贴跳身辆辈道里针钟"
    "钧钱钵铢铺锅锱阙队阵面页顶颗首"
)


def _date(found: str) -> str:
    return re.sub(r"\d+", lambda number: read_number(number[0]), re.sub(r"\d+(?=年)", lambda year: read_digits(year[0]), found))


def _sum(found: str) -> str:
    return _NUMBER.sub(lambda number: read_number(number[0]), found)


def _quotient(found: str) -> str:
    above, below = found.split("/")
    return f"{read_number(below)}分之{read_number(above)}"


def _share(found: str) -> str:
    return "百分之" + read_number(found.removesuffix("%"))


_LMMS_READINGS: tuple[tuple[re.Pattern[str], Callable[[str], str]], ...] = (
    (re.compile(r"\D+((?:(?:[089]\d|(?:19|20)\d{2})年)?(?:\d{1,2}月(?:\d{1,2}[日号])?)?)"), _date),
    (re.compile(rf"\D+(\d+(?:\.\d+)?[多余几]?{_MONEY_UNIT}(?:\d{_MONEY_UNIT}?)?)"), _sum),
    (re.compile(r"\D((?:\+?86 ?)?1(?:[38]\d|5[0-35-9]|7[678]|9[89])\d{8})\D"), read_digits),
    (re.compile(r"\D((?:0(?:10|2[1-3]|[3-9]\d{2})-?)?[1-9]\d{6,7})\D"), read_digits),
    (re.compile(r"(\d+/\d+)"), _quotient),
    (re.compile(r"(\d+(?:\.\d+)?%)"), _share),
    (re.compile(rf"(\d+(?:\.\d+)?)(?=[多余几]?(?:[{_COUNTED}]|[千微][克米]))"), read_number),
    (re.compile(r"(\d{4,32})"), read_digits),
    (re.compile(r"(\d+(?:\.\d+)?)"), read_number),
    (re.compile("([a-zA-Z]+二[a-zA-Z]+)"), lambda found: found.replace("二", "2")),  # b2b
)
# The marks that it blanks out; any other stays unless it stands alone.
_LMMS_MARKS = re.compile(
    "[!-/:-@[-`{-~·–—‘’‛-‟…‧、。〃〈-】〔-〟〰〾〿﹏！-－／：-＠［-｀｛-､]"
)  # fmt: skip


def lmms_chinese(text: str) -> str:
    """Normalise as lmms-eval 0.7.3 does where it scores Mandarin: numbers read, marks blanked out, spaces closed, lower case."""
    text = re.sub(r"\s+", "", re.sub(r"<\|.*?\|>", " ", text))
    text = f"^{text}$".replace("％", "%")
    for pattern, read in _LMMS_READINGS:
        for found in filter(None, pattern.findall(text)):
            text = text.replace(found, read(found), 1)
    words = _LMMS_MARKS.sub(" ", text).split()
    return "".join(word for word in words if not all(unicodedata.category(character)[0] == "P" for character in word)).lower()
