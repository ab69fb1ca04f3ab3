"""Numbers that several rooms share: of 16-bit audio, of decibels, of voices."""

import math

LEVELS = 32_768  # of 16-bit audio on each side of zero
DECIBELS = 20 / math.log(10)  # in a neper, the unit of natural logarithms of magnitudes
LOWEST_HZ, HIGHEST_HZ = 60.0, 550.0  # of the pitch of voices
