"""The one clock: samples -> mel frames -> encoder frames -> audio tokens.

Each constant is computed from the one before by an exact division, so the time base can be read
off this page, and no other module counts frames.

    samples        16,000 /s
    mel frames        100 /s   one per  160 samples
    encoder frames     50 /s   one per  320 samples (the encoder's second convolution has stride 2)
    audio tokens     12.5 /s   one per 1280 samples (four encoder frames are stacked)

Source: paper section 3.1; the released model's window of 30 s = 1500 encoder frames = 375 audio
tokens.
"""

import math

SAMPLING_RATE = 16_000  # Hz
HOP_LENGTH = 160  # samples per mel frame: 10 ms
N_FFT = 400  # samples per analysis window: 25 ms
MEL_FRAMES_PER_ENCODER_FRAME = 2
ENCODER_FRAMES_PER_AUDIO_TOKEN = 4

MEL_FRAMES_PER_AUDIO_TOKEN = MEL_FRAMES_PER_ENCODER_FRAME * ENCODER_FRAMES_PER_AUDIO_TOKEN  # 8
SAMPLES_PER_AUDIO_TOKEN = HOP_LENGTH * MEL_FRAMES_PER_AUDIO_TOKEN  # 1280: 80 ms
ENCODER_FRAMES_PER_SECOND = SAMPLING_RATE // (HOP_LENGTH * MEL_FRAMES_PER_ENCODER_FRAME)  # 50
AUDIO_TOKENS_PER_SECOND = SAMPLING_RATE / SAMPLES_PER_AUDIO_TOKEN  # 12.5

WINDOW_SECONDS = 30
WINDOW_SAMPLES = WINDOW_SECONDS * SAMPLING_RATE  # 480,000
WINDOW_MEL_FRAMES = WINDOW_SAMPLES // HOP_LENGTH  # 3,000


def ceil_div(numerator: int, denominator: int) -> int:
    """Integer division that rounds up."""
    return -(-numerator // denominator)


def num_mel_frames(num_samples: int) -> int:
    """Mel frames of a waveform, a last partial hop counted as a frame.

    Departure: Whisper drops what is left over after the last whole hop. We round up, as the
    released model does when it counts audio tokens, so that no sample of the input is lost.
    """
    return ceil_div(num_samples, HOP_LENGTH)


def num_encoder_frames(num_mel_frames: int) -> int:
    """Encoder frames of a number of mel frames."""
    return ceil_div(num_mel_frames, MEL_FRAMES_PER_ENCODER_FRAME)


def num_audio_tokens(num_mel_frames: int) -> int:
    """Audio tokens (= embeddings the adapter produces) of a number of mel frames.

    Example:
        >>> num_audio_tokens(WINDOW_MEL_FRAMES)
        375
        >>> num_audio_tokens(num_mel_frames(SAMPLES_PER_AUDIO_TOKEN + 1))
        2
    """
    return ceil_div(num_encoder_frames(num_mel_frames), ENCODER_FRAMES_PER_AUDIO_TOKEN)


def first_encoder_frame(seconds: float) -> int:
    """The first encoder frame whose middle is not before `seconds`.

    What lasts from s to e fills the frames `first_encoder_frame(s)` up to but without
    `first_encoder_frame(e)`.

    Example:
        >>> first_encoder_frame(0.03), first_encoder_frame(0.031)
        (1, 2)
    """
    return max(0, math.ceil(round(seconds * ENCODER_FRAMES_PER_SECOND - 0.5, 6)))
