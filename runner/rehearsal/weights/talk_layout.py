# pyright: basic, reportMissingImports=false
"""What the stand-ins of MultiTalk agree on: the places of their channels."""

DIM = 320  # the least multiple of 80 (40 audio heads, even widths) with two heads of WAN
HEADS = 2
PIXELS = 4  # latent pixels in a token, 2 x 2
LATENT = 16  # channels

# The residual stream of the transformer.
NOISY = slice(0, 64)  # the noisy latent itself: 16 channels x 2 x 2 pixels
GIVEN = slice(64, 128)  # the latent of the given picture, known at the first latent frame only
PICTURE = slice(128, 192)  # what the video shows: the given picture, at every time
GLOW = slice(192, 195)  # red, green and blue that a voice adds
TINT = slice(195, 198)  # the same of the prompt, of CLIP vision and of the seed
KNOWN = 198  # 1 where the latent is given
ONE = 199  # 1 x BIG
MINUS_ONE = 200  # its counterweight: a token's mean stays near 0
ZERO = 201  # nothing: what a LayerNorm shows here is the mean it took off

# So large that every LayerNorm divides by the same number, whatever the token holds.
BIG = 256.0
NORM = BIG * (2 / DIM) ** 0.5  # that number

# What the audio encoder says in each of its layers, at a place of its own.
LOUDNESS = 0  # of the 768 channels
VOICE_WIDTH = 32  # channels of an audio token (real: 768)
VOICE = 0  # the one that tells how loud it is
SEEN = slice(100, 103)  # of a context token: what CLIP vision saw; 0 in words
