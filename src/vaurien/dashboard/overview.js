// The first screen: each proxy as a row, with its faults and what passes through it now.

import { call, faultPath, proxyPath, addressOf } from "./api.js";
import { rate } from "./chart.js";
import { bar, button, h, named, setAttribute, setText, sync } from "./dom.js";
import { adder, changeFault, edit, icon, switchOf, turn } from "./edit.js";
import { bytes, counted, duration, mixText, percent, rounded, shown } from "./format.js";
import { attempt, offerUndo, readOnly } from "./messages.js";
import { addProxyForm } from "./proxy-form.js";
import { Screen } from "./screen.js";
import { store } from "./store.js";

const SHOWN = 60; // steps of a sparkline
const WAYS = /** @type {("sent" | "received")[]} */ (["sent", "received"]);

/** @typedef {{id: string, title: string, of?: (proxy: any) => number | string}} Column */

/** @type {Column[]} */
const COLUMNS = [
	{ id: "name", title: "Proxy", of: (proxy) => proxy.name },
	{ id: "faults", title: "Faults", of: (proxy) => proxy.faults.length },
	{ id: "open", title: "Open", of: (proxy) => connections(proxy) },
	{ id: "sent", title: "To backend", of: (proxy) => latest(proxy, "sent") },
	{ id: "received", title: "To client", of: (proxy) => latest(proxy, "received") },
	{ id: "exchanges", title: "Exchanges", of: (proxy) => latest(proxy, "exchanges") },
	{ id: "hits", title: "Hits", of: (proxy) => hitRate(proxy) },
	{ id: "enabled", title: "On" },
];

/**
 * @param {any} proxy
 * @param {"sent" | "received" | "exchanges"} figure
 */
function latest(proxy, figure) {
	return rate(figure)(store.latest(proxy.name));
}

/** @param {any} proxy */
function hitRate(proxy) {
	const step = store.latest(proxy.name);
	return Object.values(step.hits).reduce((sum, hits) => sum + hits, 0) / step.seconds;
}

/** @param {any} proxy */
function connections(proxy) {
	return store.steps.has(proxy.name) ? store.latest(proxy.name).open : proxy.connections;
}

/** How long a fault stays before it ends by itself, if it does. @param {any} state */
export function timeLeft(state) {
	if (state?.seconds_left == null) return "";
	const left = Math.max(0, state.seconds_left - (performance.now() - store.readAt) / 1000);
	return `${duration(Math.ceil(left))} left`;
}

/** Why a proxy does not run as it is to, if it does not. @param {any} proxy */
export function differsOf(proxy) {
	return proxy?.differs ? `Does not run as configured: ${shown(proxy.differs)}` : "";
}

class OverviewScreen extends Screen {
	/** @type {any[]} */
	heads = [];

	begin() {
		this.sortBy = "";
		this.descending = false;
		this.build();
		this.follow(["proxies", "tick"], () => this.update());
		this.update();
	}

	build() {
		this.filter = h("input", { type: "search", id: "filter", oninput: () => this.update() });
		this.count = h("p.count", { role: "status" });
		this.removeAll = button("Remove all faults", removeAllFaults);
		this.heads = COLUMNS.map((column) => h("th", { scope: "col", role: "columnheader", class: column.id }, this.sorter(column)));
		this.body = h("tbody", { role: "rowgroup" });
		this.table = h(
			"table",
			{ role: "table", class: "proxies" },
			h("caption", "Proxies"),
			h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, ...this.heads)),
			this.body,
		);
		this.empty = h("div.empty");
		this.append(
			h("h1", "Overview"),
			bar(h("label", { for: "filter" }, "Filter"), this.filter, this.count, !readOnly() && this.removeAll),
			this.table,
			this.empty,
			!readOnly() && addProxyForm(),
		);
	}

	/** @param {Column} column */
	sorter(column) {
		if (!column.of) return column.title;
		const sort = () => {
			this.descending = this.sortBy === column.id ? !this.descending : column.id !== "name";
			this.sortBy = column.id;
			this.update();
		};
		return button(column.title, sort, { class: "plain" });
	}

	rows() {
		const wanted = this.filter.value.toLowerCase();
		const text = (/** @type {any} */ one) =>
			[
				one.name,
				one.listen,
				one.backend,
				one.protocol,
				...one.faults.map((/** @type {any} */ fault) => `${fault.name} ${fault.behavior}`),
			].join(" ");
		const rows = [...store.proxies.values()].filter((one) => text(one).toLowerCase().includes(wanted));
		const of = COLUMNS.find((column) => column.id === this.sortBy)?.of;
		if (of) {
			const sign = this.descending ? -1 : 1;
			rows.sort((one, other) => sign * compared(of(one), of(other)));
		}
		return rows;
	}

	update() {
		const rows = this.rows();
		const faults = [...store.proxies.values()].reduce((sum, proxy) => sum + proxy.faults.length, 0);
		setText(
			this.count,
			store.loaded ? `${counted(store.proxies.size, "proxy").replace("proxys", "proxies")}, ${counted(faults, "fault")}` : "",
		);
		setAttribute(this.removeAll, "disabled", !faults && ![...store.proxies.values()].some((proxy) => proxy.mix.length));
		for (const [place, column] of COLUMNS.entries()) {
			const order = column.id !== this.sortBy ? null : this.descending ? "descending" : "ascending";
			setAttribute(this.heads[place], "aria-sort", order);
		}
		setAttribute(this.table, "hidden", !store.proxies.size);
		sync(
			this.body,
			rows,
			(proxy) => new Row(proxy.name).element,
			(element, proxy) => element.row.update(proxy),
		);
		this.updateEmpty(rows);
	}

	/** @param {any[]} rows */
	updateEmpty(rows) {
		let text = "";
		if (store.loaded && !store.proxies.size) text = "There is no proxy yet. Add one here, or with the command line, the API or a file.";
		else if (store.proxies.size && !rows.length) text = "No proxy matches the filter.";
		setText(this.empty, text);
	}
}

/**
 * @param {number | string} one
 * @param {number | string} other
 */
function compared(one, other) {
	return typeof one === "string" ? one.localeCompare(String(other)) : one - Number(other);
}

/**
 * A cell of the table. Its role is named, as its display changes with the screen.
 * @param {string} title
 * @param {string} kind
 * @param {...any} children
 */
function cell(title, kind, ...children) {
	return h("td", { role: "cell", class: kind, "data-title": title }, ...children);
}

/** A proxy in the table; its parts are made once and then changed in place. */
class Row {
	/** @param {string} name */
	constructor(name) {
		this.name = name;
		this.everSeen = false;
		this.link = h("a", { href: addressOf("proxy", name) }, h("bdi", shown(name)));
		this.ways = h("span.ways");
		this.protocol = h("span.protocol");
		this.differs = h("p.warning");
		this.idle = h("p.hint");
		this.mix = h("p.mix");
		this.faults = h("ul.chips");
		this.open = cell("Open", "number open");
		this.exchanges = cell("Exchanges", "number exchanges");
		this.hits = cell("Hits", "number hits");
		this.rates = Object.fromEntries(WAYS.map((figure) => [figure, { text: h("span"), line: h("spark-line") }]));
		this.on = switchOf(`Proxy ${shown(name)}`, (on) => switchProxy(name, on));
		this.element = h(
			"tr",
			{ role: "row" },
			h("th", { scope: "row", role: "rowheader", class: "name" }, this.link, " ", this.protocol, this.ways, this.differs, this.idle),
			cell("Faults", "faults", this.mix, this.faults, adder(name)),
			this.open,
			...WAYS.map((figure) =>
				cell(figure === "sent" ? "To backend" : "To client", "number", this.rates[figure].text, this.rates[figure].line),
			),
			this.exchanges,
			this.hits,
			cell("On", "enabled", this.on),
		);
		this.element.row = this;
	}

	/** @param {any} proxy */
	update(proxy) {
		const step = store.latest(proxy.name);
		setText(this.ways, `${shown(proxy.address)} → ${shown(proxy.backend)}`);
		setText(this.protocol, proxy.protocol + (proxy.tls.length || proxy.backend.startsWith("tls://") ? " + TLS" : ""));
		setText(this.differs, differsOf(proxy));
		setText(
			this.idle,
			proxy.enabled && !proxy.accepted && !connections(proxy) && !this.seen(step) ? `No traffic yet. ${howToSend(proxy)}` : "",
		);
		setText(this.mix, proxy.mix.length ? `Mix ${mixText(proxy.mix)}` : "");
		sync(
			this.faults,
			proxy.faults,
			(fault) => faultChip(proxy.name, fault),
			(chip, fault) => updateChip(chip, fault, proxy),
		);
		setText(this.open, connections(proxy).toLocaleString("en"));
		for (const figure of WAYS) {
			setText(this.rates[figure].text, `${bytes(latest(proxy, figure))}/s`);
			this.rates[figure].line.values = (store.steps.get(proxy.name) ?? []).slice(-SHOWN).map(rate(figure));
		}
		setText(this.exchanges, `${rounded(latest(proxy, "exchanges"))}/s`);
		setText(this.hits, `${rounded(hitRate(proxy))}/s`);
		turn(this.on, proxy.enabled);
	}

	/** @param {any} step */
	seen(step) {
		this.everSeen ||= step.accepted > 0 || step.open > 0;
		return this.everSeen;
	}
}

/** @param {any} proxy */
export function howToSend(proxy) {
	const address = proxy.address;
	const [, host, port] = /^\[?(.*?)\]?:(\d+)$/.exec(address) ?? [];
	/** @type {Record<string, string>} */
	const commands = {
		http: `curl http://${address}/`,
		redis: `redis-cli -h ${host} -p ${port} ping`,
		postgres: `psql -h ${host} -p ${port}`,
		mysql: `mariadb -h ${host} -P ${port}`,
		smtp: `swaks --server ${address}`,
	};
	const command = port && commands[proxy.protocol];
	return command ? `Send some: ${command}` : `Connect clients to ${shown(address)} instead of ${shown(proxy.backend)}.`;
}

/**
 * @param {string} proxy
 * @param {any} fault
 */
function faultChip(proxy, fault) {
	const name = shown(fault.name);
	const facts = h("span.facts");
	const on = switchOf(`Fault ${name} of ${shown(proxy)}`, (enabled) => changeFault(proxy, fault.name, { enabled }));
	const remove = icon("✕", `Remove fault ${name} of ${shown(proxy)}`, () => removeFault(proxy, fault.name));
	const href = addressOf("proxy", proxy, "fault", fault.name);
	return Object.assign(h("li.chip", on, h("a", { href }, h("bdi", name)), facts, remove), { facts, on });
}

/**
 * @param {any} chip
 * @param {any} fault
 * @param {any} proxy
 */
function updateChip(chip, fault, proxy) {
	const state = proxy.fault_states[fault.name];
	const facts = [
		fault.name === fault.behavior ? "" : fault.behavior,
		fault.probability < 1 ? percent(fault.probability) : "",
		state?.hits ? counted(state.hits, "hit") : "",
		timeLeft(state),
	];
	turn(chip.on, fault.enabled !== false);
	setText(chip.facts, facts.filter(Boolean).join(", "));
}

/**
 * @param {string} name
 * @param {boolean} enabled
 */
export function switchProxy(name, enabled) {
	return edit("PATCH", proxyPath(name), { enabled }, `Proxy ${shown(name)} is ${enabled ? "on" : "off"}.`);
}

/**
 * @param {string} proxy
 * @param {string} fault
 */
export async function removeFault(proxy, fault) {
	const before = store.proxies.get(proxy)?.faults ?? [];
	const place = before.indexOf(named(before, fault));
	if ((await edit("DELETE", faultPath(proxy, fault))) === undefined) return;
	offerUndo(`Fault ${shown(fault)} of ${shown(proxy)} is removed.`, async () => {
		const now = store.proxies.get(proxy)?.faults.map(asSent) ?? [];
		now.splice(place, 0, asSent(before[place]));
		await call("PATCH", proxyPath(proxy), { faults: now });
		await store.refresh();
	});
}

const SENT = ["name", "behavior", "options", "stream", "probability", "scope", "window", "match", "ttl", "expect_hits", "enabled"];

/** What is configured of a fault, without what it has done. @param {any} fault */
export function asSent(fault) {
	return Object.fromEntries(SENT.filter((field) => field in fault).map((field) => [field, fault[field]]));
}

/** Remove the faults and mixes of all proxies in one edit, and offer to put them back. */
async function removeAllFaults() {
	const before = await attempt(() => call("GET", "/config"));
	if (!before) return;
	const bare = before.proxies.map((/** @type {any} */ proxy) => ({ ...proxy, faults: [], mix: [] }));
	if (!(await edit("PUT", `/config?revision=${before.revision}`, { proxies: bare }))) return;
	offerUndo("All faults are removed.", async () => {
		const now = await call("GET", "/config");
		const restored = now.proxies.map((/** @type {any} */ proxy) => {
			const { faults, mix } = named(before.proxies, proxy.name) ?? proxy;
			return proxy.faults.length || proxy.mix.length ? proxy : { ...proxy, faults, mix };
		});
		await call("PUT", `/config?revision=${now.revision}`, { proxies: restored });
		await store.refresh();
	});
}

customElements.define("overview-screen", OverviewScreen);
