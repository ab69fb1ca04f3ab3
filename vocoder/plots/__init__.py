"""Pictures for papers, pages and logs; each function returns a figure, `save_figure` writes it.

Needs matplotlib, and `draw_pair` librosa: `pip install 'vocoder[eval]'`.
"""

from vocoder.plots.curves import draw_curves
from vocoder.plots.kernel import draw_kernel
from vocoder.plots.law import draw_law
from vocoder.plots.mel import draw_mel, draw_mels
from vocoder.plots.network import draw_network
from vocoder.plots.pair import draw_pair
from vocoder.plots.style import save_figure

__all__ = [
    "draw_curves",
    "draw_kernel",
    "draw_law",
    "draw_mel",
    "draw_mels",
    "draw_network",
    "draw_pair",
    "save_figure",
]
