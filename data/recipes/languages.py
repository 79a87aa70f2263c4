"""Languages as corpora write them (zh-CN, cmn_hans_cn, sv-SE, iw) -> the language tag, the script and the English name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from tag_schema.tasks import LANGUAGE_NAMES

# Names of the languages of VoxLingua107, FLEURS and Common Voice that tag_schema does not name itself; ISO 639 English names.
_NAMES = """
ab Abkhazian|af Afrikaans|am Amharic|as Assamese|ast Asturian|az Azerbaijani|ba Bashkir|bas Basaa|be Belarusian|bg Bulgarian|bn Bengali
bo Tibetan|br Breton|bs Bosnian|ca Catalan|ceb Cebuano|ckb Central Kurdish|cnh Hakha Chin|cs Czech|cv Chuvash|cy Welsh|da Danish
dv Dhivehi|dyu Dyula|el Greek|eo Esperanto|et Estonian|eu Basque|fa Persian|ff Fula|fi Finnish|fil Filipino|fo Faroese|fy Western Frisian
ga Irish|gl Galician|gn Guarani|gu Gujarati|gv Manx|ha Hausa|haw Hawaiian|hr Croatian|hsb Upper Sorbian|ht Haitian Creole|hu Hungarian
hy Armenian|ia Interlingua|id Indonesian|ig Igbo|is Icelandic|jv Javanese|ka Georgian|kab Kabyle|kam Kamba|kea Kabuverdianu|kk Kazakh
km Khmer|kn Kannada|kmr Northern Kurdish|ky Kyrgyz|la Latin|lb Luxembourgish|lg Ganda|lij Ligurian|ln Lingala|lo Lao|lt Lithuanian
ltg Latgalian|luo Luo|lv Latvian|mdf Moksha|mg Malagasy|mhr Meadow Mari|mi Maori|mk Macedonian|ml Malayalam|mn Mongolian|mr Marathi
mrj Hill Mari|ms Malay|mt Maltese|my Burmese|myv Erzya|nan Min Nan Chinese|ne Nepali|nn Norwegian Nynorsk|no Norwegian|nso Northern Sotho
ny Nyanja|oc Occitan|om Oromo|or Odia|os Ossetian|pa Punjabi|ps Pashto|quy Ayacucho Quechua|rm Romansh|ro Romanian|rw Kinyarwanda
sa Sanskrit|sah Yakut|sat Santali|sc Sardinian|sco Scots|sd Sindhi|si Sinhala|sk Slovak|skr Saraiki|sl Slovenian|sn Shona|so Somali
sq Albanian|sr Serbian|su Sundanese|sv Swedish|sw Swahili|ta Tamil|te Telugu|tg Tajik|th Thai|ti Tigrinya|tig Tigre|tk Turkmen|tl Tagalog
tn Tswana|tok Toki Pona|tt Tatar|tw Twi|ug Uyghur|umb Umbundu|ur Urdu|uz Uzbek|vi Vietnamese|vot Votic|war Waray|wo Wolof|xh Xhosa
yi Yiddish|yo Yoruba|zgh Standard Moroccan Tamazight|zu Zulu|zza Zazaki
"""
NAMES: Mapping[str, str] = MappingProxyType(
    dict(pair.split(" ", 1) for line in _NAMES.split("\n") for pair in line.split("|") if pair) | dict(LANGUAGE_NAMES)
)
# Codes whose first part is not the language, or is an old code of it.
_OTHERS = {"cmn": "zh", "zh_hk": "yue", "nb": "no", "iw": "he", "jw": "jv", "in": "id"}
CANTONESE = "yue"
TRADITIONAL = ("zh_tw", "zh_hk", "yue")


def language_of(code: str) -> str:
    """Return the language of a corpus' code, as a tag without bars: zh-CN -> zh, sv-SE -> sv, yue_hant_hk -> yue, en_us -> en."""
    flat = code.strip().lower().replace("-", "_")
    first = flat.split("_", maxsplit=1)[0]
    return _OTHERS.get(flat) or _OTHERS.get(first) or first


def text_language_of(code: str) -> str:
    """Return the language of text under a corpus' code; Chinese in traditional characters is zh_tr."""
    flat = code.strip().lower().replace("-", "_")
    return "zh_tr" if flat in TRADITIONAL or flat.startswith("yue_") else language_of(code)


def name_of(code: str) -> str | None:
    """Return the English name of a corpus' code; None where this table has none."""
    return NAMES.get(language_of(code))
