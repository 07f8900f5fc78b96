// The page of a run's report. It stands alone in one file, so it shows what is written into it and asks nobody.

import "./chart.js";
import { h } from "./dom.js";
import { bytes, counted, duration, rounded, shown } from "./format.js";

const report = JSON.parse(document.getElementById("data")?.textContent ?? "");

/**
 * @param {string} caption
 * @param {string[]} titles
 * @param {any[][]} rows
 */
function table(caption, titles, rows) {
	const head = h("thead", {}, h("tr", {}, ...titles.map((title) => h("th", { scope: "col" }, title))));
	const body = rows.map((row) => h("tr", {}, ...row.map((cell) => h("td", {}, typeof cell === "string" ? shown(cell) : String(cell)))));
	return h("table", {}, h("caption", {}, caption), head, h("tbody", {}, ...body));
}

/** @param {any} proxy */
function charts(proxy) {
	const steps = report.moments.map((/** @type {any} */ moment) => ({ ...moment, ...moment.proxies[proxy.name] }));
	const rate = (/** @type {any} */ step, /** @type {string} */ figure) => (step[figure] ?? 0) / step.seconds;
	const faults = [...new Set(steps.flatMap((/** @type {any} */ step) => Object.keys(step.hits ?? {})))];
	/** @type {[string, string[], (step: any) => number[], (value: number) => string][]} */
	const list = [
		["Throughput", ["to backend", "to client"], (step) => [rate(step, "sent"), rate(step, "received")], (value) => `${bytes(value)}/s`],
		["Connections", ["open", "accepted a second"], (step) => [step.open ?? 0, rate(step, "accepted")], rounded],
		["Exchanges", ["a second"], (step) => [rate(step, "exchanges")], (value) => `${rounded(value)}/s`],
		["Hits by fault", faults, (step) => faults.map((name) => (step.hits?.[name] ?? 0) / step.seconds), (value) => `${rounded(value)}/s`],
		["Added delay", ["p50", "p99"], (step) => [step.delay_p50 ?? 0, step.delay_p99 ?? 0], duration],
		["Failed dials", ["a second"], (step) => [rate(step, "failed_dials")], (value) => `${rounded(value)}/s`],
	];
	const marks = report.changes
		.filter((/** @type {any} */ change) => change.proxy === proxy.name)
		.map((/** @type {any} */ change) => ({
			time: change.time,
			text: `${duration(change.time)}: ${change.faults.join(", ") || "no fault"} ${change.mix}`,
		}));
	const made = list.map(([title, names, values, text]) => {
		const points = steps.map((/** @type {any} */ step) => ({ time: step.time, values: values(step) }));
		return Object.assign(h("time-chart"), {
			chart: { title, names, points, marks, from: 0, to: report.duration, shown: text, label: duration },
		});
	});
	return h("div", { class: "charts" }, ...made);
}

/** Which faults there were, from when to when. @param {any} proxy */
function timeline(proxy) {
	const changes = report.changes.filter((/** @type {any} */ change) => change.proxy === proxy.name);
	const rows = changes.map((/** @type {any} */ change) => [
		duration(change.time),
		change.faults.join(", ") || "no fault",
		change.mix || "none",
	]);
	return rows.length
		? table("Changes of its faults", ["After", "Faults", "Mix"], rows)
		: h("p", { class: "help" }, "Its faults did not change.");
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
		{},
		h("h2", {}, shown(proxy.name)),
		h(
			"p",
			{},
			`${shown(proxy.address)} → ${shown(proxy.backend)}, ${proxy.protocol}: ${counted(proxy.connections, "connection")}, ${proxy.failed} failed, ${bytes(proxy.sent)} to the backend, ${bytes(proxy.received)} to the client. Ends: ${ends.join(", ") || "none"}.`,
		),
		charts(proxy),
		timeline(proxy),
		table("Faults", ["Fault", "As it was set", "Hits", "Connections", "Exchanges", "Delay p50", "Delay p99", "Why it never hit"], faults),
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
		h("h1", {}, "Vaurien's report"),
		h("pre", {}, h("code", {}, report.command.map(shown).join(" "))),
		h(
			"p",
			{},
			`It ended with status ${report.status} after ${duration(report.duration)}; ${counted(report.steps, "step")} played. Repeat it with `,
			h("code", {}, `--seed ${shown(report.seed)}`),
			`. Vaurien ${report.version}.`,
		),
		h("ul", { class: "error" }, ...failed.map((one) => h("li", {}, shown(one)))),
		...report.proxies.map(section),
	);
