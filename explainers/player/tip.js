// The words beside the pointer.

import { make } from "./elements.js";

/**
 * @param {HTMLElement} root the player
 * @param {() => number} zoom how much larger everything is on a full screen
 */
export function tipOf(root, zoom) {
  const element = make("div", { class: "tip", role: "tooltip" });
  return {
    element,
    /** @param {string} text @param {{left: number, bottom: number}} near */
    show(text, near) {
      const box = root.getBoundingClientRect();
      element.textContent = text;
      element.style.display = "block";
      const most = Math.max(4, box.width / zoom() - element.offsetWidth - 6);
      element.style.left = `${Math.min(Math.max(4, (near.left - box.left) / zoom() + 8), most)}px`;
      element.style.top = `${(near.bottom - box.top) / zoom() + root.scrollTop + 6}px`;
    },
    hide() {
      element.style.display = "none";
    },
  };
}
