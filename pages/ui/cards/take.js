// "Take it along": copies the commands.

import { find } from "../../../explainers/player/elements.js";
import { copied } from "./copied.js";

/** @import { Component } from "../../../explainers/player/types.d.ts" */

/** @param {Component<{commands: string}>} component */
export default function ({ data, parentElement }) {
  const status = find(parentElement, "[role=status]");
  find(parentElement, "pre").textContent = data.commands;
  find(parentElement, ".commands").onclick = () => copied(data.commands).then(
    () => { status.textContent = "Copied"; },
    () => { status.textContent = "The browser refused to copy; please copy by hand"; },
  );
}
