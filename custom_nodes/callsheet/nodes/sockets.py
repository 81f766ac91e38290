"""Types of outputs that feed more than one kind of input."""

from comfy_api.latest import io


class Loose(str):
    """A type name that the server takes for equal to every other.

    A V1 combo's type is the list of its options, which no string can name; the server keeps this
    door open for such types (comfy_execution/validation.py, "pre-union behaviour"). The editor
    reads the plain string and stays strict.
    """

    def __ne__(self, other: object) -> bool:
        return False

    # Defining a comparison drops the hash that str has.
    __hash__ = str.__hash__


IntOrFloat = io.Custom("INT,FLOAT")
ComboOrString = io.Custom(Loose("COMBO,STRING"))
# A list of {"image": [1, height, width, 3], "position": None, "first", "last" or 0 to 1 of the video,
# "strength": 0 to 1}. Nodes must not change it: ComfyUI keeps it for the next job.
Keyframes = io.Custom("KEYFRAMES")
# One or two of {"audio": AUDIO as given, "bbox": None or (x, y, width, height) as given, "mask": None or
# [1, height, width], 1 where the speaker is seen}. Once arranged, each also has "voice": AUDIO
# [1, 1, samples] at 16 kHz, "starts": seconds at which it begins, "seconds": length of all together.
Speakers = io.Custom("SPEAKERS")
# {"speakers": [[frames, 12 layers, 768 channels] of wav2vec2-base at 25 fps, for each of one or two],
# "frames": int}. What each says over the whole video; zeros where a voice is silent.
Speech = io.Custom("SPEECH")
