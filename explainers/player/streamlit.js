// The player as a Streamlit component: one player for each place on the page, new data loads into it.

import { mountPlayer } from "./shell.js";

/** @import { Component } from "./types.d.ts" */

/** @type {WeakMap<Node, {player: ReturnType<typeof mountPlayer>, data: Uint8Array | null}>} */
const playersByPlace = new WeakMap();

/** The link of the box around a player. @param {Node} place @returns {HTMLAnchorElement | null | undefined} */
function linkAround(place) {
  const host = place instanceof ShadowRoot ? place.host : place.parentElement;
  return host?.closest("[class*=st-key-card-]")?.querySelector("a[href]");
}

/** @param {Component<Uint8Array | null>} component */
export default function ({ data, parentElement, setStateValue, setTriggerValue }) {
  let entry = playersByPlace.get(parentElement);
  if (!entry) {
    const site = document.querySelector(".stApp");
    const player = mountPlayer(parentElement, {
      onEvent: (event) => setTriggerValue("click", event),
      onStep: (step) => setStateValue("step", step),
      site,
      follow: () => linkAround(parentElement)?.click(),
    });
    entry = { player, data: null };
    playersByPlace.set(parentElement, entry);
  }
  if (data && data !== entry.data) {
    entry.data = data;
    entry.player.load(data);
  }
  return () => {
    if (parentElement.isConnected) return; // a rerun, not a farewell
    entry.player.destroy();
    playersByPlace.delete(parentElement);
  };
}
