// "Take it along": copies the commands.

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
export default function ({ data, parentElement }) {
  const status = find(parentElement, "[role=status]");
  find(parentElement, "pre").textContent = data.commands;
  find(parentElement, ".commands").onclick = () => copied(data.commands).then(
    () => { status.textContent = "Copied"; },
    () => { status.textContent = "The browser refused to copy; please copy by hand"; },
  );
}
