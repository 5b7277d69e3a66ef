"""The marking tool as a web page: matplotlib's WebAgg server, its page made fit for marking.

matplotlib's own page lets arrow keys and the space bar scroll, ignores a key held down, keeps the
figure at one size whatever the window, and does not say when the server has gone.
"""

import matplotlib
from matplotlib import pyplot as plt
from matplotlib.backends.backend_webagg_core import FigureManagerWebAgg

SCRIPT = """
(function () {
    const style = document.createElement('style');
    style.textContent =
        '.mpl-toolbar {display: none} body {user-select: none}';
    document.head.appendChild(style);

    const scrolling = [' ', 'ArrowLeft', 'ArrowRight', 'ArrowUp', 'ArrowDown', 'Home', 'End',
                       'PageUp', 'PageDown', 'Tab', "'", '/'];
    addEventListener('keydown', (event) => {
        const save = event.key === 's' && (event.ctrlKey || event.metaKey);
        if (scrolling.includes(event.key) || save) event.preventDefault();
    });

    const keyEvent = mpl.figure.prototype.key_event;
    mpl.figure.prototype.key_event = function (event, name) {
        if (event.key.startsWith('Arrow')) this._key = null;  // held down: step on
        return keyEvent.call(this, event, name);
    };

    const Figure = mpl.figure;
    mpl.figure = function (...given) {
        Figure.apply(this, given);
        const fill = () => {
            this.canvas_div.style.width = Math.max(innerWidth - 44, 800) + 'px';
            this.canvas_div.style.height = Math.max(innerHeight - 62, 420) + 'px';
        };
        this.ws.addEventListener('open', () => setTimeout(fill, 300));
        addEventListener('resize', fill);
        this.ws.addEventListener('close', () => {
            document.title = this.header.textContent =
                'The tool has stopped. What was marked is saved; this page can be closed.';
            this.header.style.background = '#ffd8d4';
        });
    };
    Object.assign(mpl.figure, Figure);
    mpl.figure.prototype = Figure.prototype;
})();
"""


def use_browser(address: str, port: int) -> None:
    """Make `plt.show` serve figures at http://address:port (the next free port if taken)."""
    matplotlib.rcParams["webagg.address"] = address
    matplotlib.rcParams["webagg.port"] = port
    matplotlib.rcParams["webagg.open_in_browser"] = False  # the address is printed instead
    plt.switch_backend("webagg")
    FigureManagerWebAgg.get_javascript = _javascript


_matplotlibs_javascript = FigureManagerWebAgg.get_javascript


def _javascript() -> str:
    return _matplotlibs_javascript() + SCRIPT
