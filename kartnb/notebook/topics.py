"""The magics by topic: a topic brings a class of magics, and the options of each of them."""

from __future__ import annotations

from collections.abc import Callable

from IPython.core.magic import Magics

from kartnb.notebook.arguments import MagicParser, build_parser, cell_parser, graph_parser, why_parser
from kartnb.notebook.history_arguments import clean_parser, diff_parser, runs_parser
from kartnb.notebook.history_magics import HistoryMagics
from kartnb.notebook.look_arguments import log_parser, output_parser
from kartnb.notebook.looking import LookMagics
from kartnb.notebook.magics import KartMagics
from kartnb.notebook.sweep_arguments import interact_parser, sweep_parser
from kartnb.notebook.sweep_magics import SweepMagics
from kartnb.notebook.why_magics import WhyMagics

#: What `%load_ext` adds. What their commands need is imported when one of them is used.
MAGICS: tuple[type[Magics], ...] = (KartMagics, HistoryMagics, LookMagics, WhyMagics, SweepMagics)

#: The options of each magic, by its name: what Tab completes.
PARSERS: dict[str, Callable[[], MagicParser]] = {
    'kart': cell_parser,
    'kart_build': build_parser,
    'kart_graph': graph_parser,
    'kart_log': log_parser,
    'kart_output': output_parser,
    'kart_runs': runs_parser,
    'kart_diff': diff_parser,
    'kart_why': why_parser,
    'kart_interact': interact_parser,
    'kart_sweep': sweep_parser,
    'kart_clean': clean_parser,
}
