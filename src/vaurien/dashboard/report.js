// The page of a run's report. It stands alone in one file, so it shows what is written into it and makes no request.

import { showCharts } from "./chart.js";
import { h, scrolled, table } from "./dom.js";
import { bytes, counted, duration, shown } from "./format.js";

const report = JSON.parse(document.getElementById("data")?.textContent ?? "");

/**
 * @param {string} caption
 * @param {string[]} titles
 * @param {any[][]} rows
 */
function rowsOf(caption, titles, rows) {
	const body = rows.map((row) => h("tr", ...row.map((cell) => h("td", typeof cell === "string" ? shown(cell) : String(cell)))));
	return scrolled("div.wide", caption, table(caption, titles, h("tbody", ...body)));
}

/**
 * The figures of a proxy over time, and from when to when it had which faults.
 * @param {any} proxy
 */
function charts(proxy) {
	const steps = report.moments.map((/** @type {any} */ moment) => ({ ...moment, ...moment.proxies[proxy.name] }));
	const changes = report.changes.filter((/** @type {any} */ change) => change.proxy === proxy.name);
	const rows = changes.map((/** @type {any} */ { time, faults, mix }) => [duration(time), faults.join(", ") || "no fault", mix || "none"]);
	const marks = changes.map((/** @type {any} */ { time }, /** @type {number} */ place) => ({ time, text: shown(rows[place].join(", ")) }));
	const parent = h("div.charts");
	showCharts(parent, steps, { marks, from: 0, to: report.duration, label: duration });
	return [
		parent,
		rows.length ? rowsOf("Changes of its faults", ["After", "Faults", "Mix"], rows) : h("p.help", "Its faults did not change."),
	];
}

/** @param {any} proxy */
function section(proxy) {
	const faults = proxy.faults.map((/** @type {any} */ one) => [
		one.name,
		one.told,
		one.hits,
		one.connections,
		one.exchanges,
		duration(one.delays.median),
		duration(one.delays.p99),
		one.why,
	]);
	const ends = Object.entries(proxy.ends).map(([end, count]) => `${end} ${count}`);
	return h(
		"section",
		h("h2", shown(proxy.name)),
		h(
			"p",
			`${shown(proxy.address)} → ${shown(proxy.backend)}, ${proxy.protocol}: ${counted(proxy.connections, "connection")}, ${proxy.failed} failed, ${bytes(proxy.sent)} to the backend, ${bytes(proxy.received)} to the client. Ends: ${shown(ends.join(", ")) || "none"}.`,
		),
		...charts(proxy),
		rowsOf("Faults", ["Fault", "As it was set", "Hits", "Connections", "Exchanges", "Delay p50", "Delay p99", "Why it never hit"], faults),
	);
}

const failed = [
	...report.failed_steps.map((/** @type {any} */ one) => `Step ${one.step} failed on ${one.proxy}: ${one.error}`),
	...report.unmet.map(
		(/** @type {any} */ one) => `Fault ${one.fault} of ${one.proxy} hit ${one.hits} times, expected ${one.expected}: ${one.why}`,
	),
];

document
	.querySelector("main")
	?.append(
		h("h1", "Vaurien's report"),
		scrolled("pre", "Command", h("code", report.command.map(shown).join(" "))),
		h(
			"p",
			`It ended with status ${report.status} after ${duration(report.duration)}; ${counted(report.steps, "step")} played. Repeat it with `,
			h("code", `--seed ${shown(report.seed)}`),
			`. Vaurien ${report.version}.`,
		),
		h("ul.error", ...failed.map((one) => h("li", shown(one)))),
		...report.proxies.map(section),
	);
