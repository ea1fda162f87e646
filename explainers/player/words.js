// The sentence and the formula of each step, in the document.

import { make } from "./elements.js";
import { formatNumber } from "./numbers.js";

/** @import { Tools, Words } from "./types.d.ts" */

const MOST_TRIED = 200; // steps

/**
 * The sentence and formula of a step (scene.Words). Each template is built once; a step only writes its numbers.
 * Unseen copies of all templates lie behind the one that is read, so that the tallest keeps the place open and the
 * picture above never moves.
 * @param {Words} words
 * @param {Tools} tools
 */
export function wordsElement(words, tools) {
  const width = words.values.shape[1];
  /** @param {number} step */
  const numbersOf = (step) => words.values.data.subarray(step * width, (step + 1) * width);
  const live = make("div");
  const element = make("div", { class: "words" });
  const templates = words.sentences.map((sentence, k) => {
    const root = make("p");
    root.append(...sentence.split("**").map((part, at) => (at % 2 ? make("strong", {}, part) : part)));
    if (words.formulas[k]) {
      const formula = make("span", { class: "formula" });
      formula.innerHTML = words.formulas[k]; // our own MathML; readers' text never becomes a formula
      tools.explainSymbols(formula);
      if (!formula.querySelector("[tabindex]")) formula.tabIndex = 0; // a wide one is scrolled by its keys
      root.append(" ", formula);
    }
    const template = { root, write: liveNumbers(root) };
    const step = longestStep(words.which.data, k, (at) => template.write(numbersOf(at)));
    if (step >= 0) {
      template.write(numbersOf(step));
      const copy = /** @type {HTMLElement} */ (root.cloneNode(true));
      copy.className = "unseen";
      copy.inert = true;
      element.append(copy);
    }
    return template;
  });
  element.append(live);
  return {
    element,
    live,
    /** @param {number} step */
    update(step) {
      const template = templates[words.which.data[step]];
      template.write(numbersOf(step));
      if (live.firstChild !== template.root) live.replaceChildren(template.root);
    },
  };
}

/**
 * Of the steps that show template k, or of some of them where they are many, the one whose text is the longest; -1 for none.
 * @param {ArrayLike<number>} which @param {number} k @param {(step: number) => number} lengthAt
 */
function longestStep(which, k, lengthAt) {
  const steps = [];
  for (let step = 0; step < which.length; step++) if (which[step] === k) steps.push(step);
  const every = Math.ceil(steps.length / MOST_TRIED);
  let [longest, most] = [-1, -1];
  for (let at = 0; at < steps.length; at += every) {
    const length = lengthAt(steps[at]);
    if (length > most) [longest, most] = [steps[at], length];
  }
  return longest;
}

/**
 * Text nodes under `root` with {column:format} in them -> a function that writes a step's numbers there.
 * @param {Node} root
 * @returns {(values: ArrayLike<number>) => number} how many letters they have then
 */
function liveNumbers(root) {
  /** @type {[Node, string[]][]} */
  const nodes = [];
  const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const pieces = split(node.nodeValue ?? "");
    if (pieces.length > 1) nodes.push([node, pieces]);
  }
  return (values) => {
    let letters = 0;
    for (const [node, pieces] of nodes) {
      node.nodeValue = filled(pieces, values);
      letters += node.nodeValue.length;
    }
    return letters;
  };
}

/** A template -> text, column, format, text, column, format, .., text. @param {string} template */
export const split = (template) => template.split(/\{(\d+):([^}]+)\}/);

/** The text of a template that was split, with the numbers of a step. @param {string[]} pieces @param {ArrayLike<number>} values */
export function filled(pieces, values) {
  let text = pieces[0];
  for (let k = 1; k < pieces.length; k += 3) text += formatNumber(values[Number(pieces[k])], pieces[k + 1]) + pieces[k + 2];
  return text;
}

/**
 * Every symbol of a formula that the scene explains gets its meaning on hover, on focus and for screen readers.
 * @param {Element} formula
 * @param {Record<string, string>} symbols
 * @param {{show: (text: string, near: DOMRect) => void, hide: () => void}} tip
 */
export function explainSymbols(formula, symbols, tip) {
  for (const symbol of formula.querySelectorAll("mi, mo, msub, msup")) {
    const meaning = symbols[symbol.textContent.trim()];
    if (!meaning) continue;
    symbol.classList.add("explained");
    symbol.setAttribute("tabindex", "0");
    symbol.setAttribute("aria-description", meaning);
    const show = () => tip.show(meaning, symbol.getBoundingClientRect());
    symbol.addEventListener("pointerenter", show);
    symbol.addEventListener("focus", show);
    symbol.addEventListener("pointerleave", tip.hide);
    symbol.addEventListener("blur", tip.hide);
  }
}
