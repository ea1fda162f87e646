// The registry of panels: a kind of scene.Panel -> what draws it. What a panel is made from and must have: types.d.ts.

/** @import { CanvasDrawing, Create, ElementDrawing, Kind, Specs, Tools } from "./types.d.ts" */

/** @type {{[Of in Kind]?: Create<Of>}} */
const panelKinds = {};

/** @template {Kind} Of @param {Of} kind @param {Create<Of>} create */
export const registerPanel = (kind, create) => { Object.assign(panelKinds, { [kind]: create }); };

/**
 * What draws a panel. Throws for a kind that nobody registered.
 * @template {Kind} Of
 * @param {Of} kind
 * @param {Specs[Of]} spec
 * @param {Tools} tools
 * @returns {CanvasDrawing | ElementDrawing}
 */
export function createPanel(kind, spec, tools) {
  const create = panelKinds[kind];
  if (!create) throw new Error(`no panel of kind ${kind}`);
  return create(spec, tools);
}
