"""Audio files of every kind, good and bad, against closed-form sines and scipy."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import struct
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import soundfile
import soxr
from scipy.signal import resample_poly

from qwen_audio.audio import AudioClip, AudioLimits, audio_token_count, fit_window, frame_count, read_audio
from qwen_audio.errors import (
    AudioEmptyError,
    AudioError,
    AudioFormatError,
    AudioLimitError,
    AudioNotFoundError,
    AudioTooLongError,
    ConfigError,
)

GOLDEN = Path(__file__).parent / "golden"


def sine(seconds: float, rate: int, channels: int = 1, height: float = 0.5) -> np.ndarray:
    """Make a sine that rises from 200 Hz by 600 Hz a second; each further channel is half as loud: (n, channels) float64."""
    times = np.arange(round(seconds * rate)) / rate
    return np.stack([height * 0.5**channel * np.sin(2 * np.pi * (200 + 300 * times) * times) for channel in range(channels)], axis=1)


def write_wav(path: Path, seconds: float = 1.0, rate: int = 16_000, channels: int = 1, **options: Any) -> Path:
    soundfile.write(path, sine(seconds, rate, channels=channels), rate, **options)
    return path


def encode(path: Path, container: str, codec: str, values: np.ndarray, rate: int) -> Path:
    """Write (n, channels) with PyAV, as recorders, phones and browsers do."""
    layout = {1: "mono", 2: "stereo"}[values.shape[1]]
    with av.open(str(path), "w", format=container) as out:
        stream: Any = out.add_stream(codec, rate=rate, layout=layout)
        resampler = av.AudioResampler(format=stream.format, layout=layout, rate=rate)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(values.T, dtype=np.float32), format="fltp", layout=layout)
        frame.sample_rate = rate
        fifo = av.AudioFifo()
        for piece in resampler.resample(frame):
            fifo.write(piece)
        while (chunk := fifo.read(stream.codec_context.frame_size or 1024, partial=True)) is not None:
            out.mux(stream.encode(chunk))
        out.mux(stream.encode(None))
    return path


def assert_same_sound(found: np.ndarray, expected: np.ndarray, tolerance: float | None) -> None:
    """Compare within a tolerance, or, where a codec changed and delayed the sound (None), by likeness and loudness."""
    middle = expected[8000:24_000]
    if tolerance is not None:
        np.testing.assert_allclose(found[8000:24_000], middle, atol=tolerance)
        return
    pieces = np.lib.stride_tricks.sliding_window_view(found, len(middle))[5600:10_400]  # up to 150 ms early or late
    likeness = pieces @ middle / np.linalg.norm(pieces, axis=1) / np.linalg.norm(middle)
    best = int(np.argmax(likeness))
    assert likeness[best] > 0.98
    assert np.linalg.norm(pieces[best]) == pytest.approx(np.linalg.norm(middle), rel=0.05)


# What comes out


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 48_000, 96_000])
def test_a_sine_of_any_rate_comes_out_as_the_same_sine_at_16_khz(tmp_path: Path, rate: int) -> None:
    clip = read_audio(write_wav(tmp_path / "a.wav", 2.0, rate, subtype="FLOAT"))
    assert clip.samples.dtype == np.float32
    assert len(clip.samples) == 32_000
    inner = slice(1000, -1000)  # the filter rings at the two ends, where the sine begins and stops
    np.testing.assert_allclose(clip.samples[inner], sine(2.0, 16_000)[inner, 0], atol=2e-5)


def test_resampling_agrees_with_scipy(tmp_path: Path) -> None:
    noise = np.convolve(np.random.default_rng(0).standard_normal(48_000), np.hanning(40) / 20, "same") * 0.1  # below 3 kHz
    clip = read_audio((noise, 48_000))
    expected = resample_poly(noise, 1, 3, window=("kaiser", 12.0))
    assert np.sqrt(np.mean((clip.samples - expected)[500:-500] ** 2)) < 1e-3 * np.sqrt(np.mean(expected**2))


def test_the_channels_are_averaged(tmp_path: Path) -> None:
    clip = read_audio(write_wav(tmp_path / "a.wav", channels=2, subtype="FLOAT"))
    np.testing.assert_allclose(clip.samples, sine(1.0, 16_000, height=0.375)[:, 0], atol=1e-6)
    assert (clip.native_rate, clip.native_channels, clip.source) == (16_000, 2, str(tmp_path / "a.wav"))


@pytest.mark.parametrize(
    ("suffix", "options", "tolerance"),
    [
        ("wav", {"subtype": "PCM_16"}, 4e-5),
        ("wav", {"subtype": "PCM_24"}, 1e-6),
        ("wav", {"subtype": "DOUBLE"}, 1e-6),
        ("wav", {"subtype": "ALAW"}, 0.02),
        ("wav", {"subtype": "ULAW"}, 0.02),
        ("flac", {}, 4e-5),
        ("aiff", {}, 4e-5),
        ("au", {}, 4e-5),
        ("caf", {}, 4e-5),
        ("w64", {}, 4e-5),
        ("ogg", {"format": "OGG", "subtype": "VORBIS"}, None),
        ("opus", {"format": "OGG", "subtype": "OPUS"}, None),
        ("mp3", {"format": "MP3"}, None),
    ],
)
def test_soundfile_formats_are_read(tmp_path: Path, suffix: str, options: dict[str, Any], tolerance: float | None) -> None:
    path = write_wav(tmp_path / f"a.{suffix}", 2.0, **options)
    clip = read_audio(path)
    assert clip.duration_s == pytest.approx(2.0, abs=0.08)
    assert_same_sound(clip.samples, sine(2.0, 16_000)[:, 0], tolerance)


@pytest.mark.parametrize(
    ("suffix", "container", "codec"),
    [
        ("m4a", "ipod", "aac"),
        ("m4a", "ipod", "alac"),
        ("mp4", "mp4", "aac"),
        ("mov", "mov", "aac"),
        ("aac", "adts", "aac"),
        ("3gp", "3gp", "aac"),
        ("webm", "webm", "libopus"),
        ("mka", "matroska", "aac"),
        ("mka", "matroska", "pcm_s24le"),
        ("ac3", "ac3", "ac3"),
        ("mp3", "mp3", "libmp3lame"),
        ("wav", "wav", "pcm_s16le"),
    ],
)
def test_containers_that_soundfile_does_not_know_are_read(tmp_path: Path, suffix: str, container: str, codec: str) -> None:
    path = encode(tmp_path / f"a.{suffix}", container, codec, sine(2.0, 48_000, channels=2), 48_000)
    clip = read_audio(path)
    assert (clip.native_rate, clip.native_channels) == (48_000, 2)
    assert clip.duration_s == pytest.approx(2.0, abs=0.1)
    assert_same_sound(clip.samples, sine(2.0, 16_000, height=0.375)[:, 0], 4e-5 if codec in ("alac", "pcm_s24le", "pcm_s16le") else None)


def test_pyav_and_soundfile_agree_where_both_can_read(tmp_path: Path) -> None:
    values = sine(1.0, 44_100, channels=2)
    wav = tmp_path / "a.wav"
    soundfile.write(wav, values, 44_100, subtype="PCM_16")
    with_soundfile = read_audio(wav)
    with_pyav = read_audio(encode(tmp_path / "a.mka", "matroska", "pcm_s16le", values, 44_100))
    np.testing.assert_allclose(with_pyav.samples, with_soundfile.samples, atol=4e-5)


def test_the_extension_is_not_looked_at(tmp_path: Path) -> None:
    m4a = encode(tmp_path / "a.m4a", "ipod", "aac", sine(1.0, 16_000), 16_000)
    for number, name in enumerate(("a.wav", "a.raw", "noname", "a.m3u8", "a.mp3", "a.txt", "a.vox", "a.gsm")):
        (tmp_path / str(number)).mkdir()
        disguised = tmp_path / str(number) / name
        disguised.write_bytes(m4a.read_bytes())
        assert read_audio(disguised).duration_s == pytest.approx(1.0, abs=0.1)
        disguised.write_bytes(write_wav(tmp_path / "b.wav").read_bytes())
        assert read_audio(disguised).duration_s == 1.0


def test_files_bytes_and_open_files_give_the_same_clip(tmp_path: Path) -> None:
    for path in (write_wav(tmp_path / "a.flac", rate=44_100), encode(tmp_path / "a.webm", "webm", "libopus", sine(1, 48_000), 48_000)):
        expected = read_audio(path).samples
        data = path.read_bytes()
        with path.open("rb") as stream:
            for source in (str(path), data, bytearray(data), io.BytesIO(data), stream):
                np.testing.assert_array_equal(read_audio(source).samples, expected)  # type: ignore[arg-type]
        assert read_audio(data).source == "<bytes>"
        assert read_audio(data, name="spoken").source == "spoken"


@pytest.mark.parametrize("dtype", ["int16", "int32", "uint8", "float32", "float64"])
def test_arrays_of_any_type_are_scaled_to_one(dtype: str) -> None:
    values = sine(1.0, 16_000)[:, 0]
    if dtype == "uint8":
        array = np.round(values * 128 + 128).astype(dtype)
    elif dtype.startswith("int"):
        array = np.round(values * np.iinfo(dtype).max).astype(dtype)
    else:
        array = values.astype(dtype)
    clip = read_audio((array, 16_000))
    np.testing.assert_allclose(clip.samples, values, atol=0.01 if dtype == "uint8" else 1e-4)
    assert not np.shares_memory(clip.samples, array)


def test_either_axis_of_an_array_may_be_the_channels() -> None:
    stereo = sine(1.0, 16_000, channels=2)
    for array in (stereo, stereo.T):
        np.testing.assert_allclose(read_audio((array, 16_000)).samples, stereo.mean(axis=1), atol=1e-6)


def test_a_ten_minute_file_is_resampled_as_in_one_piece(tmp_path: Path) -> None:
    noise = (np.random.default_rng(1).standard_normal(600 * 22_050) * 0.1).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", noise, 22_050, subtype="FLOAT")
    np.testing.assert_allclose(read_audio(tmp_path / "a.wav").samples, soxr.resample(noise, 22_050, 16_000), atol=1e-6)


def test_soxr_and_the_released_front_end_differ_by_rounding_and_the_edge_of_the_filter() -> None:
    """The released code lets ffmpeg resample and rounds to 16 bits; soxr's filter keeps more between 7 and 8 kHz."""
    golden = np.load(GOLDEN / "ffmpeg_excerpt.npz")  # 0.3 s of the reference's stereo clip, and what ffmpeg makes of it
    clip = read_audio((golden["stereo44k"], 44_100))
    inner = slice(400, -400)  # the excerpt's own ends
    expected = golden["mono16k"][inner] / 32768
    difference = clip.samples[inner] - expected
    assert np.sqrt(np.mean(difference**2) / np.mean(expected**2)) < 0.01
    window = np.hanning(len(expected))
    below = np.fft.rfftfreq(len(expected), 1 / 16_000) < 6_000
    wrong, right = (np.abs(np.fft.rfft(values * window))[below] for values in (difference, expected))
    assert np.sqrt(np.sum(wrong**2) / np.sum(right**2)) < 1e-4  # 16-bit rounding alone makes 5e-5


# Pieces of files


@pytest.mark.parametrize(
    ("fragment", "start_s", "seconds"),
    [("1.5,2", 1.5, 0.5), ("1.5", 1.5, 1.5), (",0.25", 0.0, 0.25), ("npt:1,2", 1.0, 1.0), ("0:01,00:00:02.5", 1.0, 1.5)],
)
def test_a_fragment_reads_that_piece_alone(tmp_path: Path, fragment: str, start_s: float, seconds: float) -> None:
    values = np.linspace(-0.9, 0.9, 48_000)
    soundfile.write(tmp_path / "a.flac", values, 16_000)
    clip = read_audio(f"{tmp_path / 'a.flac'}#t={fragment}")
    assert (clip.start_s, clip.duration_s) == (start_s, seconds)
    first = round(start_s * 16_000)
    np.testing.assert_allclose(clip.samples, values[first : first + len(clip.samples)], atol=4e-5)
    assert clip.source.endswith(f"a.flac#t={fragment}")


@pytest.mark.parametrize("suffix", ["m4a", "webm", "mp3", "ogg", "opus"])
def test_a_fragment_of_a_compressed_file_equals_the_piece_cut_from_the_whole(tmp_path: Path, suffix: str) -> None:
    values = np.convolve(np.random.default_rng(2).standard_normal(4 * 48_000), np.ones(8) / 8, "same")[:, None] * 0.1
    path = tmp_path / f"a.{suffix}"
    if suffix in ("m4a", "webm"):
        encode(path, {"m4a": "ipod", "webm": "webm"}[suffix], {"m4a": "aac", "webm": "libopus"}[suffix], values, 48_000)
    else:
        subtype = {"mp3": "MPEG_LAYER_III", "ogg": "VORBIS", "opus": "OPUS"}[suffix]
        soundfile.write(path, values, 48_000, format="MP3" if suffix == "mp3" else "OGG", subtype=subtype)
    piece = read_audio(f"{path}#t=1.25,2.5").samples
    expected = read_audio(path).cut(1.25, 2.5).samples
    assert len(piece) == len(expected) == 20_000
    np.testing.assert_allclose(piece[300:-300], expected[300:-300], atol=1e-3)


def test_an_existing_file_of_the_literal_name_wins_over_the_fragment(tmp_path: Path) -> None:
    write_wav(tmp_path / "a.wav", 3.0)
    write_wav(tmp_path / "a.wav#t=1,2", 0.5, format="WAV")
    assert read_audio(tmp_path / "a.wav#t=1,2").duration_s == 0.5
    assert read_audio(str(tmp_path / "a.wav#t=1,3")).duration_s == 2.0


def test_only_the_piece_counts_against_the_limits(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "a.flac", 20.0)
    m4a = encode(tmp_path / "a.m4a", "ipod", "aac", sine(20.0, 16_000), 16_000)
    for long in (path, m4a):
        assert read_audio(f"{long}#t=15,17", limits=AudioLimits(max_seconds=2)).duration_s == 2.0
        with pytest.raises(AudioLimitError, match=r"20 s or more, at most 2 s"):
            read_audio(long, limits=AudioLimits(max_seconds=2))


@pytest.mark.parametrize("fragment", ["", ",", "2,", "2,1", "1,1", "1:x,2", "1.2.3,4"])
def test_a_fragment_that_is_no_piece_is_refused(tmp_path: Path, fragment: str) -> None:
    path = write_wav(tmp_path / "a.wav")
    with pytest.raises(AudioError, match=r"START,END|no such file"):
        read_audio(f"{path}#t={fragment}")


@pytest.mark.parametrize("suffix", ["wav", "m4a", "webm"])
def test_a_piece_behind_the_end_says_how_long_the_file_is(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    if suffix == "wav":
        write_wav(path)
    else:
        encode(path, {"m4a": "ipod", "webm": "webm"}[suffix], {"m4a": "aac", "webm": "libopus"}[suffix], sine(1.0, 48_000), 48_000)
    with pytest.raises(AudioEmptyError, match=r"begins at 50 s, the file lasts 1\.\d\d s"):
        read_audio(f"{path}#t=50,60")


def test_a_piece_that_reaches_over_the_end_is_heard_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write_wav(tmp_path / "a.wav")
    assert read_audio(f"{path}#t=0.5,9").duration_s == 0.5
    assert "ends at 1.00 s" in caplog.text


# What is refused


def check(error: type[AudioError], words: str, source: Any, **options: Any) -> None:
    """Expect one line with the name, the found and a mend."""
    with pytest.raises(error, match=words) as caught:
        read_audio(source, **options)
    message = str(caught.value)
    assert "\n" not in message
    if isinstance(source, (str, Path)):
        assert message.startswith(str(source))


def test_what_is_no_file_is_refused_without_opening_it(tmp_path: Path) -> None:
    check(AudioNotFoundError, "no such file; looked in", tmp_path / "missing.wav")
    check(AudioNotFoundError, "no such file", str(tmp_path / "missing.wav#t=1,2"))
    check(AudioNotFoundError, "cannot be opened|no such file", "a\0b.wav")
    check(AudioNotFoundError, "not fetched", "https://example.org/a.wav")
    check(AudioFormatError, "is a folder", tmp_path)
    os.mkfifo(tmp_path / "pipe.wav")
    check(AudioFormatError, "device or a pipe", tmp_path / "pipe.wav")  # would wait for a writer
    check(AudioFormatError, "device or a pipe", "/dev/zero")
    (tmp_path / "link.wav").symlink_to(tmp_path / "nowhere")
    check(AudioNotFoundError, "no such file", tmp_path / "link.wav")
    check(AudioNotFoundError, "cannot be opened", "x" * 5000)


def test_what_is_no_audio_is_refused(tmp_path: Path) -> None:
    text = tmp_path / "notes.wav"
    text.write_text("Dear diary, today I renamed a file.\n")
    check(AudioFormatError, "is text, not audio .*'Dear diary", text)
    rubbish = tmp_path / "rubbish.mp3"
    rubbish.write_bytes(np.random.default_rng(0).bytes(5000))
    check(AudioFormatError, "not audio|damaged", rubbish)
    check(AudioFormatError, "not audio|damaged", b"RIFF\x24\0\0\0WAVEfmt ")
    check(AudioFormatError, "not audio|damaged", b"\x1f\x8b\x08\x00zip")
    check(AudioFormatError, "expected numbers", (np.array(["a"]), 16_000))
    check(AudioFormatError, "expected numbers", (np.ones(16_000, bool), 16_000))
    check(AudioFormatError, "cannot read audio from int", 5)
    check(AudioFormatError, "binary mode", io.StringIO("text"))


def test_a_film_without_sound_is_refused(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "film.mp4"), "w") as out:
        stream: Any = out.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 64
        frame = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
        for _ in range(5):
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    check(AudioFormatError, "without sound", tmp_path / "film.mp4")


@pytest.mark.parametrize("text", ["#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{}\n#EXT-X-ENDLIST\n", "ffconcat version 1.0\nfile {}\n"])
def test_a_playlist_cannot_name_another_file(tmp_path: Path, text: str) -> None:
    secret = write_wav(tmp_path / "secret.wav")
    for name in ("list.m3u8", "list.wav"):
        (tmp_path / name).write_text(text.format(secret))
        check(AudioFormatError, "is text, not audio", tmp_path / name)


def test_empty_and_very_short_audio_is_refused(tmp_path: Path) -> None:
    (tmp_path / "zero.wav").touch()
    check(AudioEmptyError, "0 bytes", tmp_path / "zero.wav")
    check(AudioEmptyError, "0 samples", write_wav(tmp_path / "empty.wav", 0.0))
    check(AudioEmptyError, "0 bytes", b"")
    check(AudioEmptyError, "0 samples", (np.zeros(0), 16_000))
    check(AudioEmptyError, r"29\.9 ms of sound, expected at least 30 ms", (np.ones(479), 16_000))
    assert len(read_audio((np.ones(480), 16_000)).samples) == 480


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e12])
def test_values_that_are_not_sound_are_refused(tmp_path: Path, value: float) -> None:
    values = sine(1.0, 16_000)
    values[12_000] = value
    soundfile.write(tmp_path / "a.wav", values, 16_000, subtype="FLOAT")
    check(AudioEmptyError, r"sample at 0\.75 s is", tmp_path / "a.wav")


def test_silence_and_unscaled_floats_are_heard_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert not read_audio((np.zeros(16_000), 16_000), name="nothing.wav").samples.any()
    assert "nothing.wav: 1.0 s of digital silence" in caplog.text
    read_audio((sine(1.0, 16_000) * 32767, 16_000))
    assert "samples reach 16384, expected about 1" in caplog.text


@pytest.mark.parametrize("suffix", ["wav", "aiff", "flac", "m4a"])
def test_a_file_that_was_cut_off_is_refused_with_the_piece_that_is_there(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    noise = np.random.default_rng(0).standard_normal((64_000, 1)) * 0.1
    if suffix == "m4a":
        encode(path, "ipod", "aac", noise, 16_000)
        faststart = tmp_path / "fast.m4a"  # the index in front, as streaming services write it
        with av.open(str(path)) as read, av.open(str(faststart), "w", format="ipod", options={"movflags": "faststart"}) as write:
            track = write.add_stream_from_template(read.streams.audio[0])
            for packet in read.demux(audio=0):
                if packet.dts is not None:
                    packet.stream = track
                    write.mux(packet)
        path = faststart
    else:
        soundfile.write(path, noise, 16_000)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 6 // 10])
    check(AudioFormatError, r"cut off or damaged, only [12]\.\d\d s of 4\.\d\d s can be decoded; .*#t=0,[12]", path)
    assert read_audio(f"{path}#t=0,1.5").duration_s == 1.5


def test_a_cut_off_mp3_is_refused_too(tmp_path: Path) -> None:
    path = tmp_path / "a.mp3"
    soundfile.write(path, sine(4.0, 16_000), 16_000, format="MP3")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    check(AudioFormatError, r"only [12]\.\d\d s of 4\.\d\d s", path)


@pytest.mark.parametrize("kind", ["wav", "flac", "mp3", "w64", "m4a", "webm"])
def test_a_damaged_file_is_never_more_than_an_audio_error(tmp_path: Path, kind: str, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / f"a.{kind}"
    if kind in ("m4a", "webm"):
        encode(path, {"m4a": "ipod", "webm": "webm"}[kind], {"m4a": "aac", "webm": "libopus"}[kind], sine(1.0, 48_000), 48_000)
    else:
        write_wav(path)
    draw = np.random.default_rng(7)
    for _ in range(60):
        data = bytearray(path.read_bytes())
        for place in draw.integers(0, min(len(data), 400), 6):
            data[place] = draw.integers(256)
        del data[int(draw.integers(100, len(data))) :]
        (tmp_path / "damaged").write_bytes(data)
        for source in (bytes(data), str(tmp_path / "damaged"), f"{tmp_path / 'damaged'}#t=0.2,0.6"):
            with contextlib.suppress(AudioError):
                assert np.isfinite(read_audio(source, limits=AudioLimits(max_seconds=60)).samples).all()
    assert "Traceback" not in capfd.readouterr().err


def test_a_wav_that_was_written_to_a_pipe_has_no_length_and_is_read(tmp_path: Path) -> None:
    data = bytearray(write_wav(tmp_path / "a.wav").read_bytes())
    data[4:8] = data[40:44] = b"\xff\xff\xff\xff"
    assert read_audio(bytes(data)).duration_s == 1.0


def test_the_limits_hold_before_anything_is_allocated(tmp_path: Path) -> None:
    limits = AudioLimits(max_seconds=10, max_bytes=1 << 20)
    check(AudioLimitError, "more than the 1 MiB", write_wav(tmp_path / "big.wav", 40.0), limits=limits)
    check(AudioLimitError, "11 s or more", write_wav(tmp_path / "long.flac", 11.0), limits=limits)
    check(AudioLimitError, r"MiB decoded \(8 channels\)", write_wav(tmp_path / "wide.flac", 5.0, channels=8), limits=limits)
    check(AudioLimitError, "more than the 1 MiB", io.BytesIO(bytes(2 << 20)), limits=limits)
    fake = bytearray(write_wav(tmp_path / "fake.wav", 12.0).read_bytes())
    fake[24:28] = struct.pack("<I", 1_500_000_000)  # 12 s look like 0.0001 s
    check(AudioLimitError, "1500000000 samples a second", bytes(fake))
    fake[24:28] = struct.pack("<I", 1_500_000)
    check(AudioLimitError, "MiB decoded", bytes(fake), limits=AudioLimits(max_bytes=500_000))
    fake[24:28] = struct.pack("<I", 7)
    check(AudioLimitError, "7 samples a second", bytes(fake))
    assert read_audio(tmp_path / "long.flac").duration_s == 11.0


def test_samples_are_counted_while_pyav_decodes(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.webm", "webm", "libopus", sine(5.0, 48_000, channels=2), 48_000)
    check(AudioLimitError, "at most 2 s", path, limits=AudioLimits(max_seconds=2))
    check(AudioLimitError, "MiB decoded", path, limits=AudioLimits(max_bytes=400_000))
    with pytest.raises(ConfigError):
        AudioLimits(max_seconds=0)


# Clips and what they cost


@pytest.mark.parametrize(
    ("n_samples", "frames", "tokens"),
    [(480, 4, 3), (1120, 8, 4), (16_000, 100, 27), (59_200, 370, 94), (196_800, 1230, 309), (479_840, 3000, 752), (480_000, 3000, 752)],
)
def test_token_count_agrees_with_the_published_tokenizer(n_samples: int, frames: int, tokens: int) -> None:
    assert frame_count(n_samples) == frames
    assert audio_token_count(n_samples) == tokens  # 1120: where n // 640 + 2 goes wrong


@pytest.mark.parametrize(("n_samples", "tokens"), [(481, 3), (16_000, 27), (16_161, 27), (160_001, 252), (480_000, 752)])
def test_the_second_family_counts_a_frame_that_is_begun(n_samples: int, tokens: int) -> None:
    length = -(-n_samples // 160)  # as its published processor: the sum of a mask over frames
    assert ((length - 1) // 2 + 1 - 2) // 2 + 1 + 2 == tokens
    assert audio_token_count(n_samples, "qwen2-audio") == tokens


def test_counting_refuses_lengths_that_the_encoder_does_not_hear() -> None:
    with pytest.raises(AudioEmptyError, match="479 samples"):
        frame_count(479)
    with pytest.raises(AudioTooLongError, match="480001 samples"):
        audio_token_count(480_001)


def ramp(n_samples: int) -> AudioClip:
    return AudioClip(np.arange(n_samples, dtype=np.float32) / n_samples, "long.wav", start_s=5.0, native_rate=44_100, native_channels=2)


def test_a_clip_over_30_s_is_refused_unless_the_caller_chose(caplog: pytest.LogCaptureFixture) -> None:
    clip = ramp(45 * 16_000)
    with pytest.raises(AudioTooLongError, match=r"long.wav: 45\.0 s, this model hears 30 s per clip; add #t=0,30 or --long-audio split"):
        fit_window(clip)
    (first,) = fit_window(clip, "first")
    assert first.duration_s == 30.0
    assert "heard only the first 30 s of 45.0 s" in caplog.text
    windows = fit_window(clip, "split")
    assert [(window.start_s, window.duration_s, window.source) for window in windows] == [(5.0, 30.0, "long.wav"), (35.0, 15.0, "long.wav")]
    assert windows[1].native_rate == 44_100
    with pytest.raises(ConfigError):
        fit_window(clip, "cut")  # type: ignore[arg-type]


@pytest.mark.parametrize("n_samples", [480_000, 480_160, 480_479, 960_001, 960_479, 1_000_000, 1_440_480])
def test_split_windows_are_whole_and_none_is_too_short_to_hear(n_samples: int) -> None:
    clip = ramp(n_samples)
    windows = fit_window(clip, "split")
    np.testing.assert_array_equal(np.concatenate([window.samples for window in windows]), clip.samples)
    assert all(480 <= len(window.samples) <= 480_000 for window in windows)
    assert len(windows) == -(-n_samples // 480_000)


def test_less_than_a_frame_over_30_s_is_30_s() -> None:
    assert len(fit_window(ramp(480_000))[0].samples) == 480_000
    assert len(fit_window(ramp(480_159))[0].samples) == 480_000
    with pytest.raises(AudioTooLongError):
        fit_window(ramp(480_160))


def test_a_cut_knows_where_it_lies_in_the_source() -> None:
    clip = ramp(32_000)
    piece = clip.cut(0.5, 1.25)
    assert (piece.start_s, piece.duration_s, piece.source) == (5.5, 0.75, "long.wav")
    np.testing.assert_array_equal(piece.samples, clip.samples[8000:20_000])
    assert clip.cut(1.5, 99.0).duration_s == 0.5
    for start_s, end_s in ((2.0, 3.0), (1.0, 1.0), (1.0, 0.5)):
        with pytest.raises(AudioEmptyError, match="nothing between"):
            clip.cut(start_s, end_s)


def test_a_clip_of_other_numbers_is_refused() -> None:
    for samples in (np.zeros(16_000), np.zeros((2, 16_000), np.float32)):
        with pytest.raises(AudioFormatError, match=r"use read_audio\(\(array, rate\)\)"):
            AudioClip(samples)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_clip_of_what_is_no_number_is_refused_however_it_is_made(value: float) -> None:
    samples = np.zeros(16_000, np.float32)
    samples[7] = value
    with pytest.raises(AudioEmptyError, match=r"mine: a sample is not a finite number"):
        AudioClip(samples, "mine")
