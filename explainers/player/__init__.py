"""The player: one component that shows every animation on the site.

Python computes a whole run and sends one blob; the browser steps through it. Files:

- `shell.js`: clock, keys, scrub bar, words, address, PNG. `panels/<kind>.js`: what draws one kind of panel.
- `data.js`: reads the blob. `drawing.js`: colours and canvas tools. `player.css`: the look.
- `streamlit.js` and `mount.py`: the player on a page. `offline.js` and `export.py`: a scene as one HTML file.

To add a panel: a dataclass in `explainers/drawing/panels.py` with its `kind`, and `panels/<kind>.js` that calls
`registerPanel(kind, spec => ...)` as `panels.js` describes; nothing else needs to know.
"""
