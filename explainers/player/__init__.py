"""The player: one component that shows every animation on the site.

Python computes a whole run and sends one blob; the browser steps through it. The ES modules:

- `data.js` reads the blob, `live.js` joins the chunks of a run that goes on, `numbers.js` writes numbers;
- `playback.js` decides which step is shown, `address.js` keeps the page's address in step, `keys.js` knows the keys;
- `stage.js` builds the picture, `words.js` the sentence, `transport.js` the controls, `tip.js` words at the pointer;
- `fullscreen.js` fits the player to the screen, `picture.js` saves a PNG, `events.js` hears the document;
- `frames.js` draws with the browser's frames, `shell.js` puts these together;
- `drawing.js` has colours and canvas tools, `panels/<kind>.js` draws one kind of panel;
- `streamlit.js` starts the player on a page, `offline.js` in a file (`export.py`). `source.py` joins the modules;
- `types.d.ts` has the types that modules share, `scene.d.ts` those of what is sent, which `types.py` writes.

To add a panel: a dataclass in `explainers/drawing/panels.py` with its `kind`, and `panels/<kind>.js` that calls
`registerPanel(kind, spec => ...)` and returns what `types.d.ts` asks of it; then `python -m explainers.player.types`.
"""
