// "Take it along": copies the link and the commands, and asks the page for a QR code.

/** @import { Component } from "../../../explainers/player/types.d.ts" */

/** @param {string} text */
function copied(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const area = document.createElement("textarea");
  area.value = text;
  document.body.append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  return done ? Promise.resolve() : Promise.reject();
}

/** @param {ParentNode} place @param {string} selector @returns {HTMLElement} */
function find(place, selector) {
  /** @type {HTMLElement | null} */
  const found = place.querySelector(selector);
  if (!found) throw new Error(`no ${selector}`);
  return found;
}

/** @param {Component<{commands: string}>} component */
export default function ({ data, parentElement, setTriggerValue }) {
  const status = find(parentElement, "[role=status]");
  /** @param {string} text @param {string} done */
  const copy = (text, done) => copied(text).then(
    () => { status.textContent = done; },
    () => { status.textContent = "The browser refused to copy; please copy by hand"; },
  );
  find(parentElement, "pre").textContent = data.commands;
  find(parentElement, ".copy").onclick = () => copy(window.location.href, "Copied, with its settings and step");
  find(parentElement, ".commands").onclick = () => copy(data.commands, "Copied");
  find(parentElement, ".qr").onclick = () => setTriggerValue("code", window.location.href);
}
