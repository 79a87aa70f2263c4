"""Recipes of acoustic scenes, on trees in the real layouts."""

from pathlib import Path

from corpus_tree import clip, entries, text, walked


def test_tut2017_writes_labels_as_words_and_keeps_folds_and_evaluation_apart(tmp_path: Path) -> None:
    development, evaluation = (tmp_path / f"TUT-acoustic-scenes-2017-{part}" for part in ("development", "evaluation"))
    text(development / "evaluation_setup" / "fold1_train.txt", "audio/b020_90_100.wav\tbus\naudio/a001_0_10.wav\tcafe/restaurant\n")
    text(development / "evaluation_setup" / "fold1_evaluate.txt", "audio/b021_0_10.wav\tresidential_area\n")
    text(evaluation / "meta.txt", "audio/1245.wav\tgrocery_store\n")
    for path in (
        *(development / "audio" / f"{name}.wav" for name in ("b020_90_100", "a001_0_10", "b021_0_10")),
        evaluation / "audio" / "1245.wav",
    ):
        clip(path, channels=2)
    train = walked("tut2017", tmp_path, "train")
    assert [(record.target, record.meta["recording"]) for record in train] == [("bus", "b020"), ("cafe or restaurant", "a001")]
    assert [record.target for record in walked("tut2017", tmp_path, "dev")] == ["residential area"]
    (test,) = walked("tut2017", tmp_path, "evaluation")
    assert (test.target, test.meta["source"], "recording" in test.meta) == ("grocery store", "1245", False)


def test_cochlscene_takes_the_class_from_the_folder_and_the_person_from_the_name(tmp_path: Path) -> None:
    for name in (
        "Test/CrowdedIndoor/CrowdedIndoor_user0017_14896159_001",
        "Test/Bus/Bus_user0138_14982403_007",
        "Val/Bus/Bus_user0001_1_001",
    ):
        clip(tmp_path / "CochlScene" / f"{name}.wav")
    records = walked("cochlscene", tmp_path, "test")
    assert [(record.target, record.meta["recordist"]) for record in records] == [
        ("bus", "cochlscene-user0138"),
        ("crowdedindoor", "cochlscene-user0017"),
    ]
    assert len(walked("cochlscene", tmp_path / "CochlScene", "val")) == 1


def test_tau_divides_by_its_own_tables_and_names_city_and_device(tmp_path: Path) -> None:
    top = tmp_path / "TAU-urban-acoustic-scenes-2020-mobile-development"
    names = ["audio/airport-barcelona-0-0-a.wav", "audio/street_pedestrian-lyon-1162-44726-s3.wav"]
    head = "filename\tscene_label\tidentifier\tsource_label\n"
    text(top / "meta.csv", head + f"{names[0]}\tairport\tbarcelona-0\ta\n{names[1]}\tstreet_pedestrian\tlyon-1162\ts3\n")
    text(top / "evaluation_setup" / "fold1_train.csv", f"filename\tscene_label\n{names[0]}\tairport\n")
    text(
        top / "evaluation_setup" / "fold1_evaluate.csv",
        f"filename\tscene_label\n{names[1]}\tstreet_pedestrian\naudio/tram-x-1-1-b.wav\ttram\n",
    )
    for name in names:
        clip(top / name)
    (train,) = walked("tau2020", tmp_path, "train")
    assert (train.target, train.meta["city"], train.meta["device"]) == ("airport", "barcelona", "a")
    (lost,) = entries("tau2020", tmp_path, "evaluate")
    assert lost.reason == "no_file" and lost.where.endswith("fold1_evaluate.csv:3")


def test_the_two_editions_of_tau_differ_in_their_folder_alone(tmp_path: Path) -> None:
    top = tmp_path / "TAU-urban-acoustic-scenes-2022-mobile-development"
    text(top / "meta.csv", "filename\tscene_label\tidentifier\tsource_label\naudio/bus-x-1-2-0-b.wav\tbus\tx-1\tb\n")
    text(top / "evaluation_setup" / "fold1_evaluate.csv", "filename\tscene_label\naudio/bus-x-1-2-0-b.wav\tbus\n")
    clip(top / "audio" / "bus-x-1-2-0-b.wav")
    (record,) = walked("tau2022", tmp_path, "evaluate")
    assert (record.target, record.meta["device"], record.meta["recording"]) == ("bus", "b", "x-1")
