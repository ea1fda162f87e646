// Whether letters can be read: contrast as the Web Content Accessibility Guidelines define it.

/** @import { Colour } from "./types.d.ts" */

const ENOUGH = 4.6; // a little more than the 4.5 that small letters need
const STEPS = 20;
const [BLACK, WHITE] = [[0, 0, 0], [255, 255, 255]];

/** @param {Colour} colour */
function luminance(colour) {
  const [red, green, blue] = colour.map((part) => (part / 255 <= 0.04045 ? part / 255 / 12.92 : ((part / 255 + 0.055) / 1.055) ** 2.4));
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

/** From 1 (alike) to 21. @param {Colour} a @param {Colour} b */
export function contrast(a, b) {
  const [light, dark] = [luminance(a), luminance(b)].sort((p, q) => q - p);
  return (light + 0.05) / (dark + 0.05);
}

/** How well a colour can be read where it is read worst. @param {Colour} colour @param {Colour[]} grounds */
const worst = (colour, grounds) => Math.min(...grounds.map((ground) => contrast(colour, ground)));

/** A colour for letters over some grounds: the hue itself, or as much nearer to the text's colour as it takes. @param {Colour} hue @param {Colour} text @param {...Colour} grounds */
export function inkOf(hue, text, ...grounds) {
  for (let step = 0; step <= STEPS; step++) {
    const ink = hue.map((part, k) => part + ((text[k] - part) * step) / STEPS);
    if (worst(ink, grounds) >= ENOUGH) return ink;
  }
  return text;
}

/** Black or white, whichever is easier to read over some grounds. @param {...Colour} grounds */
export const inkOn = (...grounds) => (worst(BLACK, grounds) > worst(WHITE, grounds) ? "#000000" : "#ffffff");
