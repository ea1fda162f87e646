// Source code with the line on which the algorithm paused (scene.Code). In the document, not on a canvas.

import { reader } from "../data.js";
import { registerPanel } from "../panels.js";

/** @import { State } from "../types.d.ts" */

registerPanel("code", (spec) => {
  const line = reader(spec.line);
  const list = document.createElement("pre");
  list.tabIndex = 0;
  list.setAttribute("aria-label", spec.title || "source code");
  const colour = pythonColours();
  const rows = spec.source.replace(/\n$/, "").split("\n").map((text) => {
    const row = document.createElement("code");
    row.append(...colour(text), "\n");
    list.append(row);
    return row;
  });
  /** @type {HTMLElement | null | undefined} */
  let current = null;
  let laidOut = false;

  /** @param {HTMLElement} row */
  function keepInView(row) {
    const [top, bottom] = [row.offsetTop, row.offsetTop + row.offsetHeight];
    if (top < list.scrollTop || bottom > list.scrollTop + list.clientHeight) {
      list.scrollTop = (top + bottom - list.clientHeight) / 2;
    }
  }

  return {
    element: list,
    /** @param {number} room */
    resize(room) {
      const height = Number.isFinite(room) ? room : spec.height;
      list.style.height = height ? `${height}px` : "";
      laidOut = false;
      return list.offsetHeight;
    },
    /** @param {State} state */
    update(state) {
      const row = line && rows[line(state.step)[0] - spec.first_line];
      if (row === current && laidOut) return;
      current?.classList.remove("current");
      current = row;
      laidOut = list.clientHeight > 0;
      row?.classList.add("current");
      if (row && laidOut) keepInView(row);
    },
    describe: (state) => (line ? `${spec.title}, line ${line(state.step)[0]}: ${current?.textContent.trim() ?? ""}` : spec.title),
  };
});

const PYTHON = /(#.*$)|("[^"]*"|'[^']*')|\b(def|return|for|in|if|else|elif|while|yield|from|import|and|or|not|None|True|False|range|lambda|with|as|is)\b|\b(\d[\d.e+-]*)\b/g;

/** A function that colours one line after the other: a text in triple quotes may go over several. */
function pythonColours() {
  let quoted = false;
  /** @param {string} line */
  return (line) => line.split(/(""")/).flatMap((piece) => {
    const inside = quoted;
    if (piece === '"""') quoted = !quoted;
    return inside || piece === '"""' ? [coloured("string", piece)] : colouredPython(piece);
  });
}

/** @param {string} kind @param {string} text */
function coloured(kind, text) {
  const span = document.createElement("span");
  span.className = kind;
  span.textContent = text;
  return span;
}

/** @param {string} text */
function colouredPython(text) {
  const parts = [];
  let end = 0;
  for (const match of text.matchAll(PYTHON)) {
    parts.push(text.slice(end, match.index));
    parts.push(coloured(match[1] ? "comment" : match[2] ? "string" : match[3] ? "keyword" : "number", match[0]));
    end = match.index + match[0].length;
  }
  parts.push(text.slice(end));
  return parts;
}
