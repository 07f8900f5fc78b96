// Lines over time: `<spark-line>` in a row of a table, and `<time-chart>` with axes and marks.

import { setAttribute, svg } from "./dom.js";

/**
 * The points of a polyline through *values*, at even distances.
 * @param {number[]} values
 * @param {number} most the value at the top
 * @param {number} width
 * @param {number} height
 */
function points(values, most, width, height) {
  const step = values.length > 1 ? width / (values.length - 1) : 0;
  return values.map((value, place) => `${(place * step).toFixed(1)},${(height - (value / most) * height).toFixed(1)}`).join(" ");
}

/** The last minute of one figure. A picture only: the number is beside it. */
class SparkLine extends HTMLElement {
  connectedCallback() {
    if (this.line) return;
    this.line = svg("polyline");
    this.append(svg("svg", { viewBox: "0 -1 60 18", preserveAspectRatio: "none", "aria-hidden": "true", focusable: "false" }, this.line));
  }

  /** @param {number[]} values */
  set values(values) {
    this.connectedCallback();
    setAttribute(this.line, "points", points(values, Math.max(1, ...values), 60, 16));
  }
}

customElements.define("spark-line", SparkLine);
