// Words beside the picture, with the step's numbers in them (scene.Text). In the document, not on a canvas.

import { registerPanel } from "../panels.js";
import { wordsElement } from "../words.js";

registerPanel("text", (spec, tools) => {
  const words = wordsElement(spec.words, tools);
  return {
    element: words.element,
    update: (state) => words.update(state.step),
    describe: () => words.live.textContent,
  };
});
