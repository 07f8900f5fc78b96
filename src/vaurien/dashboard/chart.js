// Lines over time: `<spark-line>` in a row of a table, and `<time-chart>` with axes and marks.

import { h, setAttribute, setText, svg, sync } from "./dom.js";
import { bytes, duration, rounded, shown } from "./format.js";

/** The points of a polyline through *values*, at even distances. @param {number[]} values */
function points(values) {
	const most = Math.max(1, ...values);
	const step = 60 / Math.max(1, values.length - 1);
	return values.map((value, place) => `${(place * step).toFixed(1)},${(16 - (value / most) * 16).toFixed(1)}`).join(" ");
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
		setAttribute(this.line, "points", points(values));
	}
}

customElements.define("spark-line", SparkLine);

const WIDTH = 600;
const HEIGHT = 110;
const GAP = 3; // seconds without a step after which a line is broken
const COLORS = 6;

/** @typedef {{time: number, values: (number | null)[]}} Point */
/** @typedef {{title: string, names: string[], points: Point[], marks: {time: number, text: string}[], from: number, to: number, shown: (value: number) => string, label?: (time: number) => string}} Chart */

/** Lines over time, with a mark at each change. Its numbers are in its legend, and in the table behind it. */
class TimeChart extends HTMLElement {
	from = 0;
	to = 0;

	connectedCallback() {
		if (this.plot) return;
		this.heading = h("h3");
		this.legend = h("ul.legend");
		this.most = svg("text", { x: 2, y: 10 });
		this.marks = svg("g", { class: "marks" });
		this.lines = svg("g");
		this.plot = svg(
			"svg",
			{ viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img" },
			svg("path", { class: "axis", d: `M0 ${HEIGHT - 0.5}H${WIDTH}` }),
			this.marks,
			this.lines,
			this.most,
		);
		this.plot.addEventListener("click", (/** @type {MouseEvent} */ event) => {
			const { left, width } = this.plot.getBoundingClientRect();
			const time = this.from + ((event.clientX - left) / width) * (this.to - this.from);
			this.dispatchEvent(new CustomEvent("chosen", { detail: time, bubbles: true }));
		});
		this.times = h("p.times", { "aria-hidden": "true" }, h("span"), h("span"));
		this.append(h("figure", h("figcaption", this.heading, this.legend), this.plot, this.times));
	}

	/** @param {Chart} chart */
	set chart(chart) {
		this.connectedCallback();
		const { title, names, points, from, to } = chart;
		this.from = from;
		this.to = to;
		const most = points.reduce((top, point) => Math.max(top, ...point.values.map((value) => value ?? 0)), 0);
		const x = (/** @type {number} */ time) => ((time - from) / Math.max(1, to - from)) * WIDTH;
		const y = (/** @type {number} */ value) => HEIGHT - 1 - (value / (most || 1)) * (HEIGHT - 16);
		setText(this.heading, title);
		setText(this.most, chart.shown(most));
		const last = points.at(-1);
		const lines = names.map((name, place) => ({ name, place, kind: `line-${place % COLORS}`, now: chart.shown(last?.values[place] ?? 0) }));
		const told = lines.map(({ name, now }) => `${name} ${now}`);
		setAttribute(this.plot, "aria-label", `${title}: ${told.join(", ")}; at most ${chart.shown(most)}`);
		sync(
			this.legend,
			lines,
			() => h("li", h("i"), h("bdi"), " ", h("b")),
			(item, { name, kind, now }) => {
				setAttribute(item.firstElementChild, "class", kind);
				setText(item.querySelector("bdi"), name);
				setText(item.lastElementChild, now);
			},
		);
		sync(
			this.lines,
			lines,
			() => svg("path"),
			(line, { place, kind }) => {
				setAttribute(line, "class", kind);
				setAttribute(line, "d", path(points, place, x, y));
			},
		);
		const marks = chart.marks.filter((mark) => mark.time >= from && mark.time <= to);
		sync(
			this.marks,
			marks,
			(mark) => svg("path", svg("title", mark.text)),
			(line, mark) => setAttribute(line, "d", `M${x(mark.time).toFixed(1)} 0V${HEIGHT}`),
			(mark) => `${mark.time} ${mark.text}`,
		);
		setText(this.times.firstElementChild, chart.label?.(from) ?? "");
		setText(this.times.lastElementChild, chart.label?.(to) ?? "");
	}
}

/**
 * @param {Point[]} points
 * @param {number} place
 * @param {(time: number) => number} x
 * @param {(value: number) => number} y
 */
function path(points, place, x, y) {
	let before = Number.NEGATIVE_INFINITY;
	return points
		.filter((point) => point.values[place] !== null)
		.map((point) => {
			const command = point.time - before > GAP ? "M" : "L";
			before = point.time;
			return `${command}${x(point.time).toFixed(1)} ${y(point.values[place] ?? 0).toFixed(1)}`;
		})
		.join("");
}

customElements.define("time-chart", TimeChart);

/** @typedef {import("./store.js").Step & {time: number}} TimedStep */

export const rate = (/** @type {string} */ figure) => (/** @type {any} */ step) => (step[figure] ?? 0) / step.seconds;
const perSecond = (/** @type {number} */ value) => `${rounded(value)}/s`;

/** A title, what each line is and its value in a step, and how a value is shown. @type {[string, Record<string, (step: any) => number>, (value: number) => string][]} */
const FIGURES = [
	["Throughput", { "to backend": rate("sent"), "to client": rate("received") }, (value) => `${bytes(value)}/s`],
	["Connections", { open: (step) => step.open ?? 0, "accepted a second": rate("accepted") }, rounded],
	["Exchanges", { "a second": rate("exchanges") }, perSecond],
	["Hits by fault", {}, perSecond],
	["Added delay", { p50: (step) => step.delay_p50 ?? 0, p99: (step) => step.delay_p99 ?? 0 }, duration],
	["Failed dials", { "a second": rate("failed_dials") }, perSecond],
];

/**
 * Show all figures of a proxy over time, in charts of *parent*.
 * @param {Element} parent
 * @param {TimedStep[]} steps
 * @param {{marks: {time: number, text: string}[], from: number, to: number, label: (time: number) => string}} view
 */
export function showCharts(parent, steps, view) {
	const hit = [...new Set(steps.flatMap((step) => Object.keys(step.hits ?? {})))];
	const hits = Object.fromEntries(hit.map((name) => [name, (/** @type {any} */ step) => (step.hits?.[name] ?? 0) / step.seconds]));
	sync(
		parent,
		FIGURES,
		() => h("time-chart"),
		(chart, [title, lines, text]) => {
			const named = title === "Hits by fault" ? hits : lines;
			const points = steps.map((step) => ({ time: step.time, values: Object.values(named).map((value) => value(step)) }));
			chart.chart = { title, names: Object.keys(named).map(shown), points, shown: text, ...view };
		},
	);
}
